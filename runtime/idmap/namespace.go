package idmap

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/varve-cri/varve/runtime/program"
	"golang.org/x/sys/unix"
)

// Range maps Length ids that begin with Inside to those that begin with
// Outside. Of a user namespace, Inside are the ids that its processes see; of a
// mount, those that its files have on the disk. Outside are the host's.
type Range struct{ Inside, Outside, Length uint32 }

// MaxRanges is how many ranges the kernel takes (UID_GID_MAP_MAX_EXTENTS, since
// Linux 4.15).
const MaxRanges = 340

// Check finds what the kernel would refuse without saying why: no range, an
// empty one, one that runs over the highest id, two that overlap.
func Check(ranges []Range) error {
	if len(ranges) == 0 {
		return errors.New("no ids are mapped")
	}
	if len(ranges) > MaxRanges {
		return fmt.Errorf("%d ranges, more than %d", len(ranges), MaxRanges)
	}
	for i, r := range ranges {
		const top = 1<<32 - 1 // itself no id: it is -1
		if r.Length == 0 {
			return fmt.Errorf("range %d is empty", i)
		}
		if uint64(r.Inside)+uint64(r.Length) > top || uint64(r.Outside)+uint64(r.Length) > top {
			return fmt.Errorf("range %d, %d ids from %d to %d, runs over the highest id", i, r.Length, r.Inside, r.Outside)
		}
		for j, o := range ranges[:i] {
			if overlap(r.Inside, r.Length, o.Inside, o.Length) || overlap(r.Outside, r.Length, o.Outside, o.Length) {
				return fmt.Errorf("ranges %d and %d overlap", j, i)
			}
		}
	}
	return nil
}

func overlap(a, an, b, bn uint32) bool {
	return uint64(a) < uint64(b)+uint64(bn) && uint64(b) < uint64(a)+uint64(an)
}

// Namespace makes a user namespace with the mapping and gives its file. It lives
// as long as the file is open, or whatever was made with it.
func Namespace(uids, gids []Range) (*os.File, error) {
	child, err := Hold(uids, gids, 0)
	if err != nil {
		return nil, err
	}
	defer child.Release()
	ns, err := os.Open("/proc/" + strconv.Itoa(child.PID()) + "/ns/user")
	if err != nil {
		return nil, fmt.Errorf("user namespace: %w", err)
	}
	return ns, nil
}

// Hold makes a process in a user namespace with the mapping, and in more new
// namespaces (CLONE_NEW*), which belong to that one. It is the caller's to release.
func Hold(uids, gids []Range, more uint64) (*program.Held, error) {
	for _, m := range []struct {
		what   string
		ranges []Range
	}{{"user", uids}, {"group", gids}} {
		if err := Check(m.ranges); err != nil {
			return nil, fmt.Errorf("user namespace: %s ids: %w", m.what, err)
		}
	}
	child, err := program.Hold(unix.CLONE_NEWUSER | more)
	if err != nil {
		return nil, fmt.Errorf("user namespace: %w", err)
	}
	dir := "/proc/" + strconv.Itoa(child.PID())
	err = write(dir+"/uid_map", uids)
	if err == nil {
		err = write(dir+"/gid_map", gids)
	}
	if err != nil {
		child.Release()
		return nil, fmt.Errorf("user namespace: %w", err)
	}
	return child, nil
}

// write sets a map, in one call as the kernel wants it.
func write(file string, ranges []Range) error {
	f, err := os.OpenFile(file, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	var b strings.Builder
	for _, r := range ranges {
		fmt.Fprintln(&b, r.Inside, r.Outside, r.Length)
	}
	_, err = f.WriteString(b.String())
	return errors.Join(err, f.Close())
}
