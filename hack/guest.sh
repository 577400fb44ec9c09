#!/usr/bin/env bash
# Runs Go tests in a machine of its own: a kernel with nothing but cgroup v2, with AppArmor and swap.
#
#   hack/guest.sh [uml|qemu] PACKAGE[:RUN]|/PROGRAM...    for example  hack/guest.sh uml ./e2e/pod:'TestPodLife|TestStop' ./runtime/cgroup
#
# uml   user-mode Linux from Debian's package, kernel 6.1: a second to start, no special rights; one processor, slow forks
# qemu  QEMU without KVM and Debian's cloud kernel of bookworm-backports, 6.12: two processors, PSI, huge pages, cpuset
#
# The programs come from Debian's packages, unpacked below ~/.cache/varve/guest and not installed. The machine sees no file of this
# one: its disk is made here and thrown away. What is in the directory $GUEST_TREE is put onto it, and a PROGRAM from there may be
# run instead of tests. What they print goes to stdout; the exit status says whether all passed.
set -euo pipefail

main() {
	cd "$(dirname "$0")/.."
	. hack/needs.sh
	need_root
	need_go
	need_network
	need_disk

	kernel=uml
	case ${1:-} in uml | qemu) kernel=$1; shift ;; esac
	[ $# -gt 0 ] || { sed -n '2,12s/^# \{0,1\}//p' hack/guest.sh >&2; exit 2; }

	# Seconds that the whole machine may take.
	patience=${GUEST_PATIENCE:-900}
	cache=${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/varve/guest
	. hack/guest/packages.sh
	. hack/guest/disk.sh
	. hack/guest/boot.sh

	work=$(mktemp -d /tmp/varve-guest-XXXXXX)
	trap 'rm -rf "$work"' EXIT
	need_guest "$kernel"
	make_disk "$kernel" "$work" "$@"
	touch "$work/report"
	"boot_$kernel" "$work" >"$work/console" 2>&1 3>"$work/report" &
	machine=$!
	tail -q -n +1 -f --pid=$machine "$work/report"
	wait $machine || true
	if ! grep -q '^GUEST END 0' "$work/report"; then
		echo "the guest did not come to its end; its console said:" >&2
		tail -n 40 "$work/console" >&2
		exit 1
	fi
	! grep '^GUEST DONE ' "$work/report" | grep -qv ': ok ('
}

# In a function, so that bash has read all of it when it begins: the run takes minutes, in which this file may change.
main "$@"
exit
