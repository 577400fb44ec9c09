package unpack

import (
	"archive/tar"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/varve-cri/varve/imagestore/unpack/entry"
)

// Attributes are a directory's owner and mode, as the store keeps them for the
// root of a layer.
type Attributes struct {
	Mode uint32 `json:"mode"`
	UID  int    `json:"uid"`
	GID  int    `json:"gid"`
}

// setOpen gives an open file or directory its owner, mode and attributes. The
// order matters: chown clears setuid bits and capabilities. Owners of 0 are set
// too: what is made in a setgid directory has that one's group.
func setOpen(fd int, h *tar.Header) error {
	if err := unix.Fchown(fd, h.Uid, h.Gid); err != nil {
		return fmt.Errorf("chown to %d:%d: %w", h.Uid, h.Gid, err)
	}
	if err := unix.Fchmod(fd, entry.Mode(h)); err != nil {
		return fmt.Errorf("chmod to %#o: %w", entry.Mode(h), err)
	}
	return setXattrs(fd, h)
}

// setXattrs sets the extended attributes that a layer may carry.
func setXattrs(fd int, h *tar.Header) error {
	return entry.Xattrs(h, func(name, value string) error {
		return unix.Fsetxattr(fd, name, []byte(value), 0)
	})
}

// setLinkLike gives what cannot be opened (links, devices, fifos) its owner and
// times, without following.
func setLinkLike(at place, h *tar.Header) error {
	if err := unix.Fchownat(at.dir, at.base, h.Uid, h.Gid, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return fmt.Errorf("chown to %d:%d: %w", h.Uid, h.Gid, err)
	}
	return nil
}

// timesOf gives access and modification time; tar times reach from before 1970
// to the far future, and the kernel clamps to what the file system can hold.
func timesOf(h *tar.Header) []unix.Timespec {
	accessed := h.AccessTime
	if accessed.IsZero() {
		accessed = h.ModTime
	}
	return []unix.Timespec{entry.Time(accessed), entry.Time(h.ModTime)}
}

// setTimes sets the times of base in dir, or of dir itself when base is empty
// (AT_EMPTY_PATH for utimensat is Linux 5.8).
func setTimes(dir int, base string, times []unix.Timespec) error {
	if err := unix.UtimesNanoAt(dir, base, times, unix.AT_SYMLINK_NOFOLLOW|unix.AT_EMPTY_PATH); err != nil {
		return fmt.Errorf("set times: %w", err)
	}
	return nil
}
