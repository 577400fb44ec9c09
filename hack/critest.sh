#!/usr/bin/env bash
# critest, the CRI's conformance suite, against a throw-away node. critest must be in PATH; it is no part of varve.
#
#   hack/critest.sh [--mirror http://HOST:PORT] [--config FILE] [critest's own flags, e.g. --parallel=2 -benchmark]
#
# critest pulls its images by their public names: without internet, --mirror is a registry that has them. Of a busybox root
# that links /bin/ls symbolically the masked-path spec is no test. Ends with the totals and the names of what failed and was skipped.
set -euo pipefail
cd "$(dirname "$0")/.."
command -v critest >/dev/null || { echo "critest is not in PATH: see https://github.com/kubernetes-sigs/cri-tools" >&2; exit 1; }

node=() own=()
while [ $# -gt 0 ]; do
	case $1 in
	--mirror | --config) [ $# -ge 2 ] || { sed -n '2,7s/^# \{0,1\}//p' "$0" >&2; exit 2; }; node+=("$1" "$2"); shift ;;
	*) own+=("$1") ;;
	esac
	shift
done

dir=$(mktemp -d /tmp/varve-critest-XXXXXX) log=$(mktemp /tmp/varve-critest-XXXXXX.log)
hack/node.sh up "$dir" "${node[@]}"
verbose=(--ginkgo.v) # names what is skipped; -benchmark does not go with it
[[ " ${own[*]-} " != *" -benchmark "* && " ${own[*]-} " != *" --benchmark "* ]] || verbose=()
code=0
critest --runtime-endpoint="unix://$dir/varve.sock" --config=/dev/null --ginkgo.no-color "${verbose[@]}" "${own[@]}" >"$log" 2>&1 || code=$?
hack/node.sh down "$dir" || code=1

grep -aE '^Ran [0-9]+ of|^(FAIL|SUCCESS)!' "$log" || tail -n 20 "$log"
grep -aE '^ *\[(FAIL|PANICKED|TIMEDOUT|INTERRUPTED)\]' "$log" | sort -u || true
# A spec that is skipped says so in a line of its own behind its names, or is one of those that ginkgo left out.
grep -aE '^\[SKIPPED\] \[k8s.io\]|^S \[SKIPPED\]|^\[It\] \[SKIPPED\]' -A1 "$log" | grep -aoE '\[k8s.io\].*' | sort -u | sed 's/^/skipped: /' || true
echo "log: $log"
exit $code
