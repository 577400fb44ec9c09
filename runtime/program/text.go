package program

import (
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

func itoa(n int) string { return strconv.Itoa(n) }

type flagName struct {
	bit  uint64
	name string
}

var openFlags = []flagName{
	{unix.O_CLOEXEC, "CLOEXEC"},
	{unix.O_WRONLY, "WRONLY"},
	{unix.O_PATH, "PATH"},
	{unix.O_DIRECTORY, "DIRECTORY"},
}

var resolveFlags = []flagName{
	{unix.RESOLVE_IN_ROOT, "IN_ROOT"},
	{unix.RESOLVE_BENEATH, "BENEATH"},
	{unix.RESOLVE_NO_MAGICLINKS, "NO_MAGICLINKS"},
	{unix.RESOLVE_NO_SYMLINKS, "NO_SYMLINKS"},
	{unix.RESOLVE_NO_XDEV, "NO_XDEV"},
}

var atFlags = []flagName{
	{unix.OPEN_TREE_CLONE, "CLONE"},
	{unix.OPEN_TREE_CLOEXEC, "CLOEXEC"},
	{unix.AT_EMPTY_PATH, "EMPTY"},
	{unix.AT_RECURSIVE, "RECURSIVE"},
}

var attrFlags = []flagName{
	{unix.MOUNT_ATTR_RDONLY, "RDONLY"},
	{unix.MOUNT_ATTR_NOSUID, "NOSUID"},
	{unix.MOUNT_ATTR_NODEV, "NODEV"},
	{unix.MOUNT_ATTR_NOEXEC, "NOEXEC"},
	{unix.MOUNT_ATTR_NOATIME, "NOATIME"},
	{unix.MOUNT_ATTR_STRICTATIME, "STRICTATIME"},
	{unix.MOUNT_ATTR_NODIRATIME, "NODIRATIME"},
	{unix.MOUNT_ATTR_NOSYMFOLLOW, "NOSYMFOLLOW"},
}

var namespaceFlags = []flagName{
	{unix.CLONE_NEWNS, "NEWNS"},
	{unix.CLONE_NEWPID, "NEWPID"},
	{unix.CLONE_NEWNET, "NEWNET"},
	{unix.CLONE_NEWIPC, "NEWIPC"},
	{unix.CLONE_NEWUTS, "NEWUTS"},
	{unix.CLONE_NEWCGROUP, "NEWCGROUP"},
	{unix.CLONE_NEWUSER, "NEWUSER"},
}

// flagText names the bits of v; those without a name are printed in hex.
func flagText(v uint64, names []flagName) string {
	var parts []string
	for _, f := range names {
		if v&f.bit == f.bit && f.bit != 0 {
			parts = append(parts, f.name)
			v &^= f.bit
		}
	}
	if v != 0 || len(parts) == 0 {
		parts = append(parts, "0x"+strconv.FormatUint(v, 16))
	}
	return strings.Join(parts, "|")
}

func limit(v uint64) string {
	if v == unix.RLIM_INFINITY {
		return "unlimited"
	}
	return strconv.FormatUint(v, 10)
}
