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
need_disk # here, and not by a guest that is made beside a test which looks whether /etc stays as it is

if [ $# -gt 0 ]; then
	exec go run ./hack/testsum -- go test "$@"
fi

hack/lint.sh
hack/build.sh
VARVE_BIN=$PWD/bin
export VARVE_BIN
hack/kubelet-build.sh >/dev/null

# The packages whose tests have a node of their own.
nodes="./e2e/kubelet ./e2e/guest $(grep -rl --include=*_test.go 'harness\.Main(' e2e | xargs -n1 dirname | grep -v e2e/guest/inside | sort -u | sed 's|^|./|')"
# What runs in the guest machine only is listed in e2e/guest.
units=$(go list ./... | grep -v /e2e/guest/inside | grep -vxF -f <(go list $nodes))
# go test ends a package after ten minutes; the longest takes four of them on a machine with two processors.
groups=(-- go test -timeout 30m $units)
# The race detector needs cgo and so a C compiler; where there is none, the tests above have run without it.
if command -v gcc >/dev/null && [ -e /usr/include/stdlib.h ]; then
	groups+=(-- env CGO_ENABLED=1 go test -race -timeout 30m ./imagestore/... ./cri/...)
fi
# They may run side by side.
groups+=(-- go test -count=1 -timeout 30m $nodes)
exec go run ./hack/testsum "${groups[@]}"
