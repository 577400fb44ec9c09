package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Remove removes the group and the groups below it from all hierarchies, but
// never one above it. A group that is not there is removed. It waits briefly
// for processes that are on their way out, and tries every hierarchy before it
// reports what could not be removed.
func (g *Group) Remove() error {
	if err := g.check("remove"); err != nil {
		return err
	}
	return g.removeBy(time.Now().Add(removePatience))
}

func (g *Group) removeBy(deadline time.Time) error {
	var errs []error
	for _, dir := range g.dirs() {
		if err := removeTree(dir, deadline); err != nil {
			errs = append(errs, err)
		}
	}
	if errs == nil {
		return nil
	}
	left := ""
	if pids, err := g.Pids(); err == nil && len(pids) > 0 {
		left = fmt.Sprintf(" (%d processes, first %d)", len(pids), pids[0])
	}
	return fmt.Errorf("cgroup %s: remove%s: %w", g.path, left, errors.Join(errs...))
}

// removeTree removes dir. Most groups have none below, so the plain attempt comes first.
func removeTree(dir string, deadline time.Time) error {
	err := unix.Rmdir(dir)
	if err == nil || err == unix.ENOENT {
		return nil
	}
	return tree(dir, func(dir string) error { return removeDir(dir, deadline) })
}

// removeDir removes one directory. The kernel says EBUSY while the last
// process of a group is still being taken apart, after its exit was reported.
func removeDir(dir string, deadline time.Time) error {
	for pause := 200 * time.Microsecond; ; pause = min(2*pause, 20*time.Millisecond) {
		late := time.Now().After(deadline) // before the attempt: who was suspended since the last one has another
		err := unix.Rmdir(dir)
		switch {
		case err == nil || errors.Is(err, fs.ErrNotExist):
			return nil
		case err != unix.EBUSY && err != unix.EINTR || late:
			return &os.PathError{Op: "rmdir", Path: dir, Err: err}
		}
		time.Sleep(pause)
	}
}
