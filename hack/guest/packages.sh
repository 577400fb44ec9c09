# Sourced by guest.sh: the packages of a guest machine, unpacked below $cache and never installed.

# unpack DIR PACKAGE... downloads packages and unpacks them into $cache/DIR, once.
unpack() {
	local dir=$cache/$1 log
	shift
	[ -e "$dir/.complete" ] && return
	command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null ||
		{ echo "the guest machine is made of Debian's packages ($*), and there is no apt-get here" >&2; exit 1; }
	rm -rf "$dir"
	mkdir -p "$dir/deb"
	log=$dir/log
	if ! (cd "$dir/deb" && { download "$@" || { apt-get -qq update && download "$@"; }; }) >"$log" 2>&1; then
		echo "download of $* for the guest machine:" >&2
		cat "$log" >&2
		exit 1
	fi
	local deb
	for deb in "$dir"/deb/*.deb; do dpkg-deb -x "$deb" "$dir"; done
	rm -rf "$dir/deb"
	touch "$dir/.complete"
}

download() { apt-get -qq -o APT::Sandbox::User=root download "$@"; }

# need_guest KERNEL: the kernel, and what every guest has besides this machine's own programs.
need_guest() {
	mkdir -p "$cache"
	exec 8>"$cache/lock"
	flock 8
	unpack tools apparmor libapparmor1 kmod libkmod2
	case $1 in
	uml) unpack uml user-mode-linux ;;
	qemu) unpack_qemu ;;
	esac
	flock -u 8
}
