package idmap

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// ErrUnsupported is a file system that cannot be mounted with other owners.
var ErrUnsupported = errors.New("its file system cannot show other owners (idmapped mounts)")

// Mount gives a detached mount (fsmount, open_tree) the mapping of the user
// namespace ns, with the mounts below it if recursive. It must not have one yet,
// nor be attached anywhere.
func Mount(mount, ns *os.File, recursive bool) error {
	flags := uint(unix.AT_EMPTY_PATH)
	if recursive {
		flags |= unix.AT_RECURSIVE
	}
	err := unix.MountSetattr(int(mount.Fd()), "", flags, &unix.MountAttr{
		Attr_set: unix.MOUNT_ATTR_IDMAP, Userns_fd: uint64(ns.Fd()),
	})
	switch err {
	case nil:
		return nil
	case unix.EINVAL, unix.ENOSYS, unix.EOPNOTSUPP:
		return fmt.Errorf("%w: %w", ErrUnsupported, err)
	}
	return os.NewSyscallError("mount_setattr", err)
}
