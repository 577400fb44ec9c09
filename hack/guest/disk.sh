# Sourced by guest.sh: the disk of a guest machine.

# Programs of this machine that the guest has, too. What they are linked to comes along.
guest_programs=(bash env id readlink dirname sed cat flock unshare nsenter mount umount sleep tail mkdir swapon swapoff ip iptables iptables-save iptables-restore)

# make_disk KERNEL WORK PACKAGE[:RUN]... makes WORK/root.img and WORK/swap.img; the file /varve/jobs tells init what to run.
make_disk() {
	local kernel=$1 work=$2
	shift 2
	local root=$work/root
	mkdir -p "$root"/{proc,sys,dev,run,tmp,root,etc,opt,bin,lib,varve/bin,usr/{bin,sbin,lib},var/{lib,log}}
	chmod 1777 "$root/tmp"
	programs "$root"
	[ "$kernel" != uml ] || legacy_iptables "$root"
	modules "$kernel" "$root"
	tests "$root" "$@"
	truncate -s 3G "$work/root.img"
	mke2fs -q -F -t ext4 -E lazy_itable_init=1,lazy_journal_init=1 -d "$root" "$work/root.img" >"$work/mke2fs" 2>&1 ||
		{ cat "$work/mke2fs" >&2; return 1; }
	rm -rf "$root"
	truncate -s 256M "$work/swap.img"
	mkswap "$work/swap.img" >/dev/null 2>&1
}

# programs ROOT copies programs and their libraries.
programs() {
	local root=$1 tools=$cache/tools lib=/usr/lib/x86_64-linux-gnu name file cni
	cni=$(cni_plugins)
	local files=("$cni"/{bridge,host-local,portmap,loopback})
	for name in "${guest_programs[@]}"; do files+=("$(command -v "$name")"); done
	mkdir -p "$root$cni" "$root$lib"
	for file in "${files[@]}"; do cp -L "$file" "$root$file"; done
	cp -a "$lib/xtables" "$root$lib/"
	cp -a "$tools"/{bin,lib,sbin,usr,etc} "$root/"
	for name in sh bash; do ln -sf "$(command -v bash)" "$root/bin/$name"; done
	ln -sf /bin/kmod "$root/sbin/modprobe"
	export LD_LIBRARY_PATH=$tools$lib
	for file in $(ldd "${files[@]}" "$tools/bin/kmod" "$tools/sbin/apparmor_parser" "$lib"/xtables/*.so 2>/dev/null |
		sed -n 's/^[^/]*\(\/[^ ]*\) (0x.*/\1/p' | sort -u); do
		[ "${file#"$tools"}" = "$file" ] || continue # it came with the package
		[ -e "$root$file" ] || { mkdir -p "$root${file%/*}"; cp -L "$file" "$root$file"; }
	done
	unset LD_LIBRARY_PATH
	printf 'root:x:0:0:root:/root:/bin/bash\n' >"$root/etc/passwd"
	printf 'root:x:0:\n' >"$root/etc/group"
	printf 'nameserver 127.0.0.1\n' >"$root/etc/resolv.conf"
	printf '00000000000000000000000000000001\n' >"$root/etc/machine-id"
}

# legacy_iptables ROOT: user-mode Linux is built with nf_tables, but not for IPv4; it has the older tables.
legacy_iptables() {
	local name
	cp -L "$(command -v xtables-legacy-multi)" "$1/usr/sbin/"
	for name in iptables iptables-save iptables-restore; do ln -sf xtables-legacy-multi "$1$(command -v $name)"; done
	for name in $(ldd "$1/usr/sbin/xtables-legacy-multi" | sed -n 's/.*=> \(\/[^ ]*\) (0x.*/\1/p'); do
		[ -e "$1$name" ] || { mkdir -p "$1${name%/*}"; cp -L "$name" "$1$name"; }
	done
}

# modules KERNEL ROOT copies those modules that a node may need, which is a third of all.
modules() {
	local from to part
	case $1 in
	uml) from=$(echo "$cache"/uml/usr/lib/uml/modules/*) ;;
	qemu) from=$(echo "$cache"/qemu/lib/modules/*) ;;
	esac
	to=$2/lib/modules/${from##*/}
	mkdir -p "$to/kernel"
	cp "$from"/modules.* "$to/"
	for part in lib crypto fs/overlayfs fs/erofs fs/fuse drivers/net/veth.ko* drivers/net/dummy.ko* drivers/block/loop.ko* \
		net/netfilter net/bridge net/ipv4 net/ipv6 net/sched net/802 net/8021q net/llc; do
		for part in "$from/kernel/"$part; do
			[ -e "$part" ] || continue
			part=${part#"$from/"}
			mkdir -p "$to/${part%/*}"
			cp -a "$from/$part" "$to/${part%/*}/"
		done
	done
}

# tests ROOT PACKAGE[:RUN]... builds varve and the packages' tests and lists the jobs. Files that tests read by the place of
# their source are at the same place as here.
tests() {
	local root=$1 spec pkg run name dir
	shift
	VARVE_BIN=$root/varve/bin hack/build.sh
	CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags '-s -w' -o "$root/varve/bin/" ./e2e/probe
	CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o "$root/varve/init" ./e2e/guest/init
	mkdir -p "$root$PWD"
	cp -a hack "$root$PWD/"
	[ -z "${GUEST_TREE:-}" ] || cp -a "$GUEST_TREE/." "$root/"
	for spec in "$@"; do
		case $spec in
		/*)
			printf '{"Name":"%s","Dir":"/","Argv":["%s"]}\n' "$spec" "$spec" >>"$root/varve/jobs"
			continue
			;;
		esac
		pkg=${spec%%:*} run=
		[ "$pkg" = "$spec" ] || run=${spec#*:}
		name=${pkg#./}
		dir=$PWD/$name
		mkdir -p "$root$dir"
		[ ! -d "$dir/testdata" ] || cp -a "$dir/testdata" "$root$dir/"
		cp -a "$dir"/*.sh "$root$dir/" 2>/dev/null || true
		[ "$pkg" != ./e2e/kubelet ] || cp "$(hack/kubelet-build.sh)" "$root/varve/bin/kubelet"
		CGO_ENABLED=0 go test -c -ldflags '-s -w' -o "$root/varve/${name//\//.}.test" "$pkg"
		printf '{"Name":"%s","Dir":"%s","Argv":["/varve/%s.test","-test.v","-test.timeout=9m","-test.run=%s"]}\n' \
			"$name" "$dir" "${name//\//.}" "$run" >>"$root/varve/jobs"
	done
}
