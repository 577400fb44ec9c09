#!/usr/bin/env bash
# What no test sees: the code fences (hack/fence), formatting, go vet, and golangci-lint where it is installed.
# (go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@latest)
set -euo pipefail
cd "$(dirname "$0")/.."
. hack/needs.sh
need_go

go run ./hack/fence
unformatted=$(gofmt -l $(git ls-files --cached --others --exclude-standard '*.go'))
[ -z "$unformatted" ] || { printf 'gofmt differs:\n%s\n' "$unformatted" >&2; exit 1; }
go vet ./...
for script in hack/*.sh hack/guest/*.sh e2e/kubelet/*.sh .ci/run; do bash -n "$script"; done
if command -v golangci-lint >/dev/null; then golangci-lint run; fi
