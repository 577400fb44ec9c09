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

# unpack_qemu unpacks QEMU 10 and Debian's cloud kernel from bookworm-backports (the QEMU of bookworm itself cannot run a guest
# without KVM), with the libraries that this machine lacks. apt's own lists and sources stay as they are.
unpack_qemu() {
	local dir=$cache/qemu deb
	[ -e "$dir/.complete" ] && return
	rm -rf "$dir"
	mkdir -p "$dir/apt/lists/partial" "$dir/apt/archives/partial"
	for suite in bookworm bookworm-backports; do
		echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian $suite main"
	done >"$dir/apt/sources.list"
	local apt=(apt-get -qq -o Dir::Etc::sourcelist="$dir/apt/sources.list" -o Dir::Etc::sourceparts=/dev/null
		-o Dir::State::lists="$dir/apt/lists" -o Dir::Cache::archives="$dir/apt/archives" -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache=
		-o APT::Sandbox::User=root)
	if ! { "${apt[@]}" update && "${apt[@]}" -y --no-install-recommends -t bookworm-backports --download-only \
		install qemu-system-x86 linux-image-cloud-amd64; } >"$dir/log" 2>&1; then
		echo "download of QEMU and a kernel for the guest machine:" >&2
		cat "$dir/log" >&2
		exit 1
	fi
	for deb in "$dir"/apt/archives/*.deb; do
		case ${deb##*/} in systemd* | udev* | initramfs* | klibc* | ipxe* | linux-base*) ;; *) dpkg-deb -x "$deb" "$dir" ;; esac
	done
	local version
	version=$(ls "$dir/lib/modules")
	ln -sf kmod "$cache/tools/bin/depmod"
	LD_LIBRARY_PATH=$cache/tools/usr/lib/x86_64-linux-gnu "$cache/tools/bin/depmod" -b "$dir" "$version"
	rm -rf "$dir/apt"
	touch "$dir/.complete"
}
