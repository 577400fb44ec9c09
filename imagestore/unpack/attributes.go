package unpack

import (
	"archive/tar"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Attributes are a directory's owner and mode, as the store keeps them for the
// root of a layer.
type Attributes struct {
	Mode uint32 `json:"mode"`
	UID  int    `json:"uid"`
	GID  int    `json:"gid"`
}

// paxXattr begins the PAX records that carry extended attributes.
const paxXattr = "SCHILY.xattr."

// modeOf is a header's permission bits with setuid, setgid and sticky.
func modeOf(h *tar.Header) uint32 { return uint32(h.Mode) & 0o7777 }

// checkOwner refuses ids that chown would read as "leave it" or as another id.
func checkOwner(h *tar.Header) error {
	const most = 1<<32 - 2
	if h.Uid < 0 || h.Uid > most || h.Gid < 0 || h.Gid > most {
		return fmt.Errorf("owner %d:%d is out of range", h.Uid, h.Gid)
	}
	return nil
}

// setOpen gives an open file or directory its owner, mode and attributes. The
// order matters: chown clears setuid bits and capabilities.
func setOpen(fd int, h *tar.Header) error {
	if h.Uid != 0 || h.Gid != 0 {
		if err := unix.Fchown(fd, h.Uid, h.Gid); err != nil {
			return fmt.Errorf("chown to %d:%d: %w", h.Uid, h.Gid, err)
		}
	}
	if err := unix.Fchmod(fd, modeOf(h)); err != nil {
		return fmt.Errorf("chmod to %#o: %w", modeOf(h), err)
	}
	return setXattrs(fd, h)
}

// setXattrs sets the extended attributes that a layer may carry.
func setXattrs(fd int, h *tar.Header) error {
	for key, value := range h.PAXRecords {
		name, ok := strings.CutPrefix(key, paxXattr)
		if !ok || !carried(name) {
			continue
		}
		err := unix.Fsetxattr(fd, name, []byte(value), 0)
		if errors.Is(err, unix.ENOTSUP) && name != "security.capability" {
			continue
		}
		if err != nil {
			return fmt.Errorf("xattr %s: %w", name, err)
		}
	}
	return nil
}

// carried tells which extended attributes a layer may set: those a program can
// set on its own files, access lists and file capabilities. trusted.overlay.* would
// let an archive write overlay's own notes; security.selinux and its like are the
// node's to decide.
func carried(name string) bool {
	switch {
	case strings.HasPrefix(name, "user.overlay."):
		return false
	case strings.HasPrefix(name, "user."):
		return true
	}
	switch name {
	case "security.capability", "system.posix_acl_access", "system.posix_acl_default":
		return true
	}
	return false
}

// setLinkLike gives what cannot be opened (links, devices, fifos) its owner and
// times, without following.
func setLinkLike(at place, h *tar.Header) error {
	if h.Uid != 0 || h.Gid != 0 {
		if err := unix.Fchownat(at.dir, at.base, h.Uid, h.Gid, unix.AT_SYMLINK_NOFOLLOW); err != nil {
			return fmt.Errorf("chown to %d:%d: %w", h.Uid, h.Gid, err)
		}
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
	return []unix.Timespec{timespec(accessed), timespec(h.ModTime)}
}

func timespec(t time.Time) unix.Timespec {
	if t.IsZero() {
		t = time.Unix(0, 0)
	}
	return unix.Timespec{Sec: t.Unix(), Nsec: int64(t.Nanosecond())}
}

// setTimes sets the times of base in dir, or of dir itself when base is empty
// (AT_EMPTY_PATH for utimensat is Linux 5.8).
func setTimes(dir int, base string, times []unix.Timespec) error {
	if err := unix.UtimesNanoAt(dir, base, times, unix.AT_SYMLINK_NOFOLLOW|unix.AT_EMPTY_PATH); err != nil {
		return fmt.Errorf("set times: %w", err)
	}
	return nil
}
