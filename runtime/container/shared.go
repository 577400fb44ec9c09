package container

import (
	"bufio"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// sharedSource checks that the mount that path lies on is shared: only then
// do mounts of the container show on the host, which is what a shared bind
// mount is asked for. It reads the mount table, whose size is the host's, and
// so is called for such mounts alone.
func sharedSource(proc int, path string) error {
	var st unix.Statx_t
	if err := unix.Statx(unix.AT_FDCWD, path, 0, unix.STATX_MNT_ID, &st); err != nil {
		return err
	}
	fd, err := unix.Openat(proc, "self/mountinfo", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	table := os.NewFile(uintptr(fd), "mountinfo")
	defer table.Close()
	id := strconv.FormatUint(st.Mnt_id, 10)
	lines := bufio.NewScanner(table)
	lines.Buffer(nil, 1<<20) // an overlay of many layers has a long line
	for lines.Scan() {
		// id parent major:minor root place options tag... - type source options
		fields := strings.Fields(lines.Text())
		if len(fields) < 7 || fields[0] != id {
			continue
		}
		tags := fields[6:max(6, slices.Index(fields, "-"))]
		if slices.ContainsFunc(tags, func(tag string) bool { return strings.HasPrefix(tag, "shared:") }) {
			return nil
		}
		return &StepError{
			Step: "check propagation of mount source", Object: path, Errno: unix.EINVAL,
			Detail: "it is on the mount " + fields[4] + ", which is not shared",
		}
	}
	if err := lines.Err(); err != nil {
		return err
	}
	return unix.ENOENT
}
