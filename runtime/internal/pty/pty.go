// Package pty makes terminals out of a given instance of devpts, not of
// whatever a path leads to.
package pty

import (
	"golang.org/x/sys/unix"
)

// The numbers of Documentation/admin-guide/devices.txt: 5:2 is the
// multiplexer, 136 to 143 are the slaves.
const (
	ptmxMajor, ptmxMinor  = 5, 2
	slaveFirst, slaveLast = 136, 143
)

// Open makes a terminal in the devpts instance whose ptmx node is the O_PATH
// descriptor node, reopened through proc, a descriptor of the caller's own
// procfs. Both ends are verified to be what they should be and the slave is
// taken from its master, so that no name of the container plays a part
// (CVE-2025-52565).
func Open(proc, node int) (master, slave int, err error) {
	if err := verify(node, ptmxMajor, ptmxMajor, ptmxMinor); err != nil {
		return -1, -1, err
	}
	master, err = unix.Openat(proc, "self/fd/"+itoa(node), unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, -1, err
	}
	slave, err = peer(master)
	if err != nil {
		_ = unix.Close(master)
		return -1, -1, err
	}
	return master, slave, nil
}

func peer(master int) (int, error) {
	if err := unix.IoctlSetPointerInt(master, unix.TIOCSPTLCK, 0); err != nil { // unlock
		return -1, err
	}
	slave, err := slaveOf(master)
	if err != nil {
		return -1, err
	}
	if err := verify(slave, slaveFirst, slaveLast, -1); err != nil {
		_ = unix.Close(slave)
		return -1, err
	}
	return slave, nil
}
