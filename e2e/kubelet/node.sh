#!/usr/bin/env bash
# Runs a node and a kubelet in mount and PID namespaces of their own, so that nothing of the kubelet outlives
# them:  unshare -m -p -f --mount-proc --kill-child e2e/kubelet/node.sh DIR MIRROR KUBELET
# DIR/kubelet.yaml is the kubelet's configuration. This shell is PID 1 there and reaps.
set -euo pipefail
dir=$1 mirror=$2 kubelet=$3
here=$(dirname "$(readlink -f "$0")")

# The kubelet wants its volumes to propagate; / of a machine may be private.
mount --make-rprivate /
mount --make-rshared /
"$here/../../hack/node.sh" up "$dir/node" --mirror "$mirror"

parent=$(sed -n 's/.*"cgroupParent": "\(.*\)".*/\1/p' "$dir/node/node.json")
subnet=$(sed -n 's/.*"subnet": "\(.*\)".*/\1/p' "$dir/node/node.json")
hierarchies=(/sys/fs/cgroup/*/cgroup.procs)
# Of one hierarchy these are groups, the node's own among them.
[ ! -e /sys/fs/cgroup/cgroup.controllers ] || hierarchies=(/sys/fs/cgroup/cgroup.procs)
for procs in "${hierarchies[@]}"; do
	mkdir -p "${procs%/*}$parent"
done

# The kubelet writes below /var/lib/kubelet whatever its root directory is.
mount -t tmpfs none /var/lib
mkdir -p "$dir/manifests" "$dir/plugins" /var/lib/kubelet
sed -i "s|@CGROUP_ROOT@|$parent|" "$dir/kubelet.yaml"
"$kubelet" --config "$dir/kubelet.yaml" --root-dir "$dir/root" --cert-dir "$dir/pki" \
	--node-ip "${subnet%.0/24}.1" --hostname-override e2e >>"$dir/kubelet.log" 2>&1 &
echo up
wait $!
