# Sourced, not run: what the scripts need from the machine, installed only when it is missing.

need_go() {
	PATH=$PATH:/usr/local/go/bin
	command -v go >/dev/null || { echo "go is missing: see https://go.dev/doc/install (1.26.8 or newer)" >&2; exit 1; }
}

need_root() {
	[ "$(id -u)" = 0 ] || { echo "$0: namespaces, mounts and cgroups need root" >&2; exit 1; }
}

# The directory that holds the CNI plugins; empty when there is none.
cni_plugins() {
	local dir
	for dir in /opt/cni/bin /usr/lib/cni /usr/libexec/cni; do
		[ -x "$dir/bridge" ] && [ -x "$dir/portmap" ] && { echo "$dir"; return; }
	done
}

# Packages for pod networking. apt-get is asked only when a program is absent.
need_network() {
	local want=()
	command -v ip >/dev/null || want+=(iproute2)
	command -v iptables >/dev/null || [ -x /usr/sbin/iptables ] || want+=(iptables)
	[ -n "$(cni_plugins)" ] || want+=(containernetworking-plugins)
	command -v unshare >/dev/null && command -v flock >/dev/null || want+=(util-linux)
	install_packages "${want[@]}"
}

# The disk of a guest machine (hack/guest.sh).
need_disk() {
	local want=()
	command -v mke2fs >/dev/null || want+=(e2fsprogs)
	command -v mkswap >/dev/null && command -v swapon >/dev/null || want+=(util-linux mount)
	install_packages "${want[@]}"
}

install_packages() {
	[ $# = 0 ] && return
	command -v apt-get >/dev/null || { echo "please install: $*" >&2; exit 1; }
	echo "installing $*"
	local log
	log=$(mktemp)
	if ! { apt-get -qq install -y --no-install-recommends "$@" ||
		{ apt-get -qq update && apt-get -qq install -y --no-install-recommends "$@"; }; } \
		>"$log" 2>&1 </dev/null; then
		cat "$log" >&2
		rm -f "$log"
		exit 1
	fi
	rm -f "$log"
}
export DEBIAN_FRONTEND=noninteractive
PATH=$PATH:/usr/sbin:/sbin
