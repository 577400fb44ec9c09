#!/usr/bin/env bash
# Every check there is. Quiet when green: a line for each package, the totals last.
#
#   hack/test.sh             all of it (root)
#   hack/test.sh ./cri/...   only the tests of these packages
set -euo pipefail
cd "$(dirname "$0")/.."
. hack/needs.sh
need_root
need_go
need_network

if [ $# -gt 0 ]; then
	exec go run ./hack/testsum -- go test "$@"
fi

hack/lint.sh
hack/build.sh
VARVE_BIN=$PWD/bin
export VARVE_BIN
hack/kubelet-build.sh >/dev/null

units=$(go list ./... | grep -v -e /e2e/pod -e /e2e/container -e /e2e/image -e /e2e/crash -e /e2e/immunity -e /e2e/kubelet)
groups=(-- go test $units)
# The race detector needs cgo and so a C compiler; where there is none, the tests above have run without it.
if command -v gcc >/dev/null && [ -e /usr/include/stdlib.h ]; then
	groups+=(-- env CGO_ENABLED=1 go test -race ./imagestore/... ./cri/...)
fi
# Each of these packages has a node of its own, so they may run side by side.
groups+=(-- go test -count=1 -timeout 15m ./e2e/pod ./e2e/container ./e2e/image ./e2e/crash ./e2e/immunity ./e2e/kubelet)
exec go run ./hack/testsum "${groups[@]}"
