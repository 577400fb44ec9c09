# Sourced by guest.sh: starting the machine. File descriptor 3 is the report, stdout the console. A process namespace of its own
# sees to it that no part of the machine outlives this script.

boot_uml() {
	isolated env TMPDIR="$(memory_dir "$1" 2200)" \
		"$cache/uml/usr/bin/linux.uml" mem=2048M quiet uml_dir="$1" umid=varve \
		ubd0="$1/root.img" ubd1="$1/swap.img" root=/dev/ubda rootfstype=ext4 rw init=/varve/init \
		con=null con0=null,fd:1 ssl=null ssl0=null,fd:3 varve.report=ttyS0 \
		lsm=capability,apparmor apparmor=1 </dev/null
}

# isolated COMMAND... runs the machine until it turns itself off, panics (user-mode Linux then spins) or is out of time. The
# console is $work/console.
isolated() {
	unshare --pid --fork --kill-child --mount-proc "$@" &
	local machine=$! seconds=0
	while kill -0 $machine 2>/dev/null; do
		if [ $((seconds += 1)) -gt "$patience" ] || grep -qs 'Kernel panic' "$work/console"; then
			kill -9 $machine
		fi
		sleep 1
	done
	wait $machine
}

# memory_dir WORK MIB is where the machine's memory is a file: on tmpfs if that has the space.
memory_dir() {
	local free
	free=$(df -m --output=avail /dev/shm 2>/dev/null | tail -n 1)
	if [ "${free:-0}" -gt "$2" ]; then echo /dev/shm; else echo "$1"; fi
}

boot_qemu() {
	local qemu=$cache/qemu
	# Disks by NVMe, because that driver is in the kernel and needs no initial RAM disk; of one controller, because two are found
	# in any order.
	LD_LIBRARY_PATH=$qemu/usr/lib/x86_64-linux-gnu:$qemu/lib/x86_64-linux-gnu isolated "$qemu/usr/bin/qemu-system-x86_64" -L "$qemu/usr/share/qemu" -L "$qemu/usr/share/seabios" \
		-accel tcg,thread=multi -cpu max -smp 2 -m 2048 -nodefaults -no-user-config -display none -no-reboot \
		-serial stdio -serial file:"$1/report" \
		-drive file="$1/root.img",if=none,id=root,format=raw,cache=unsafe -device nvme,serial=varve,id=disks -device nvme-ns,drive=root,bus=disks,nsid=1 \
		-drive file="$1/swap.img",if=none,id=swap,format=raw,cache=unsafe -device nvme-ns,drive=swap,bus=disks,nsid=2 \
		-kernel "$(echo "$qemu"/boot/vmlinuz-*)" \
		-append "console=ttyS0 quiet panic=-1 root=/dev/nvme0n1 rootfstype=ext4 rw init=/varve/init varve.report=ttyS1 lsm=capability,apparmor apparmor=1 psi=1 cgroup_no_v1=all" \
		</dev/null
}
