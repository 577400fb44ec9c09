package group

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// The functions below do what those with paths do, below the directory dir and
// without garbage. A name must end in a zero byte.

// MakeAt makes the directory of a new group.
func MakeAt(dir int, name []byte) error {
	_, _, e := unix.Syscall(unix.SYS_MKDIRAT, uintptr(dir), uintptr(unsafe.Pointer(&name[0])), 0o755)
	return cause(e)
}

// OpenAt opens a group or a file of one, close-on-exec.
func OpenAt(dir int, name []byte, flags int) (int, error) {
	fd, _, e := unix.Syscall6(unix.SYS_OPENAT, uintptr(dir), uintptr(unsafe.Pointer(&name[0])), uintptr(flags|unix.O_CLOEXEC), 0, 0, 0)
	if e != 0 {
		return -1, e
	}
	return int(fd), nil
}

// RemoveAt removes a group that is empty; one that is gone already is fine.
func RemoveAt(dir int, name []byte) error {
	_, _, e := unix.Syscall(unix.SYS_UNLINKAT, uintptr(dir), uintptr(unsafe.Pointer(&name[0])), unix.AT_REMOVEDIR)
	if e == unix.ENOENT || e == unix.ENODEV {
		return nil
	}
	return cause(e)
}

func cause(e unix.Errno) error {
	if e == 0 {
		return nil
	}
	return e
}
