#!/usr/bin/env bash
# Builds every program as a static binary into ./bin (or $VARVE_BIN).
# One build at a time: tests that bring up nodes side by side all come here.
set -euo pipefail
cd "$(dirname "$0")/.."
. hack/needs.sh
need_go

out=${VARVE_BIN:-$PWD/bin}
version=${VERSION:-$(git describe --tags --always --dirty 2>/dev/null || echo unknown)}
mkdir -p "$out"
exec 9>"$out/.lock"
flock 9
CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X main.version=$version" -o "$out/" \
	./cmd/... ./e2e/registry ./e2e/quickstart ./e2e/nodetool
