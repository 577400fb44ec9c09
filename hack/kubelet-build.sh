#!/usr/bin/env bash
# Builds the unmodified kubelet that e2e/kubernetes pins and prints the program's path.
# The first build takes minutes; the program is kept by the hash of the module and the Go version.
set -euo pipefail
# A machine without Go (hack/guest.sh's) has it built beforehand.
if [ -n "${VARVE_KUBELET:-}" ]; then
	echo "$VARVE_KUBELET"
	exit
fi
cd "$(dirname "$0")/../e2e/kubernetes"
. ../../hack/needs.sh
need_go

cache=${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/varve
key=$(cat go.mod go.sum tools.go <(go version) | sha256sum | cut -c1-16)
kubelet=$cache/kubelet-$key
mkdir -p "$cache"
exec 9>"$cache/kubelet.lock"
flock 9
if [ ! -x "$kubelet" ]; then
	version=$(go list -m -f '{{.Version}}' k8s.io/kubernetes)
	IFS=. read -r major minor _ <<<"${version#v}"
	pkg=k8s.io/component-base/version
	CGO_ENABLED=0 go build -trimpath -o "$kubelet.new" \
		-ldflags "-s -w -X $pkg.gitVersion=$version -X $pkg.gitMajor=$major -X $pkg.gitMinor=$minor" \
		k8s.io/kubernetes/cmd/kubelet >&2
	mv "$kubelet.new" "$kubelet"
	# Programs of older pins are of no use to this checkout.
	find "$cache" -name 'kubelet-*' ! -name "kubelet-$key" -delete
fi
echo "$kubelet"
