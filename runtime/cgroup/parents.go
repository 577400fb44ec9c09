package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// markName is an extended attribute on the directories of parents that varve
// made. The cgroup file systems keep it as long as the directory lives, so that
// no record outside can go stale; only root can set or see it.
const markName = "trusted.varve.made"

// mark says that a directory is varve's. Without the mark (a kernel without
// attributes there) the directory is left behind rather than a stranger's removed.
func mark(dir string) { _ = unix.Setxattr(dir, markName, []byte("1"), 0) }

func marked(dir string) bool {
	_, err := unix.Getxattr(dir, markName, make([]byte, 1))
	return err == nil
}

// RemoveParents removes the group at name and then those above it, as long as
// each is marked as varve's and is empty. Others are left alone, and that is
// no error.
func RemoveParents(name string) error {
	for g := Open(name); g.path != "/"; g = g.parent() {
		if err := g.check("remove"); err != nil {
			return err
		}
		left := false
		for _, dir := range g.dirs() {
			if !marked(dir) {
				left = left || unix.Access(dir, unix.F_OK) == nil
				continue
			}
			switch err := unix.Rmdir(dir); {
			case err == nil || errors.Is(err, fs.ErrNotExist):
			case err == unix.EBUSY || err == unix.ENOTEMPTY:
				left = true
			default:
				return fmt.Errorf("cgroup %s: %w", g.path, &os.PathError{Op: "rmdir", Path: dir, Err: err})
			}
		}
		if left {
			return nil
		}
	}
	return nil
}
