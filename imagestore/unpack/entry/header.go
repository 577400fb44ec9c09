package entry

import (
	"archive/tar"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// paxXattr begins the PAX records that carry extended attributes.
const paxXattr = "SCHILY.xattr."

// Mode is a header's permission bits with setuid, setgid and sticky.
func Mode(h *tar.Header) uint32 { return uint32(h.Mode) & 0o7777 }

// CheckOwner refuses ids that chown would read as "leave it" or as another id.
func CheckOwner(h *tar.Header) error {
	const most = 1<<32 - 2
	if h.Uid < 0 || h.Uid > most || h.Gid < 0 || h.Gid > most {
		return fmt.Errorf("owner %d:%d is out of range", h.Uid, h.Gid)
	}
	return nil
}

// Time is a time of a header as the kernel counts it; no time at all is 1970.
func Time(t time.Time) unix.Timespec {
	if t.IsZero() {
		t = time.Unix(0, 0)
	}
	return unix.Timespec{Sec: t.Unix(), Nsec: int64(t.Nanosecond())}
}

// Carried tells which extended attributes a layer may set: those a program can
// set on its own files, access lists and file capabilities. trusted.overlay.* would
// let an archive write overlay's own notes; security.selinux and its like are the
// node's to decide.
func Carried(name string) bool {
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

// Xattrs hands the extended attributes that a layer may set to set, sorted by
// name. What the file system does not have (ENOTSUP) is left out, but for file
// capabilities, without which a program would not work.
func Xattrs(h *tar.Header, set func(name, value string) error) error {
	if len(h.PAXRecords) == 0 {
		return nil
	}
	for _, key := range slices.Sorted(maps.Keys(h.PAXRecords)) {
		name, ok := strings.CutPrefix(key, paxXattr)
		if !ok || !Carried(name) {
			continue
		}
		err := set(name, h.PAXRecords[key])
		if errors.Is(err, unix.ENOTSUP) && name != "security.capability" {
			continue
		}
		if err != nil {
			return fmt.Errorf("xattr %s: %w", name, err)
		}
	}
	return nil
}

// Sparse tells whether an entry's holes are worth keeping as holes. The body of
// such an entry is not its content as it stands.
func Sparse(h *tar.Header) bool {
	if h.Typeflag == tar.TypeGNUSparse {
		return true
	}
	for key := range h.PAXRecords {
		if strings.HasPrefix(key, "GNU.sparse.") {
			return true
		}
	}
	return false
}

// Device gives the type of a device node or fifo, as in stat's mode, and its number.
func Device(h *tar.Header) (kind uint32, number uint64, err error) {
	kind = map[byte]uint32{tar.TypeChar: unix.S_IFCHR, tar.TypeBlock: unix.S_IFBLK, tar.TypeFifo: unix.S_IFIFO}[h.Typeflag]
	if h.Devmajor < 0 || h.Devmajor > 0xfff || h.Devminor < 0 || h.Devminor > 0xfffff {
		return 0, 0, fmt.Errorf("device %d:%d is out of range", h.Devmajor, h.Devminor)
	}
	return kind, unix.Mkdev(uint32(h.Devmajor), uint32(h.Devminor)), nil
}
