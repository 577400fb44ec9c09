package pty

import (
	"strconv"

	"golang.org/x/sys/unix"
)

func itoa(n int) string { return strconv.Itoa(n) }

// verify checks that fd is a character device of devpts with a major number
// in [first, last] and, unless minor is -1, that minor number.
func verify(fd int, first, last uint32, minor int) error {
	var fs unix.Statfs_t
	if err := unix.Fstatfs(fd, &fs); err != nil {
		return err
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	major := unix.Major(uint64(st.Rdev))
	switch {
	case fs.Type != unix.DEVPTS_SUPER_MAGIC, st.Mode&unix.S_IFMT != unix.S_IFCHR:
		return unix.ENOTTY
	case major < first, major > last, minor >= 0 && unix.Minor(uint64(st.Rdev)) != uint32(minor):
		return unix.ENOTTY
	}
	return nil
}

// slaveOf opens the slave that belongs to master, whatever its number or
// path (Linux 4.13).
func slaveOf(master int) (int, error) {
	flags := uintptr(unix.O_RDWR | unix.O_NOCTTY | unix.O_CLOEXEC)
	fd, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(master), unix.TIOCGPTPEER, flags)
	if errno != 0 {
		return -1, errno
	}
	return int(fd), nil
}

// Resize sets the size of the terminal that fd is an end of.
func Resize(fd int, rows, cols uint16) error {
	return unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: rows, Col: cols})
}
