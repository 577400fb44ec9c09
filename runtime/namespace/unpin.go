package namespace

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"

	"golang.org/x/sys/unix"
)

// ErrNotPinned is matched by the error of Check about a file that is there
// but is no namespace, as after a reboot or a Pin that was killed.
var ErrNotPinned = errors.New("no namespace is pinned")

// Unpin lets go of everything pinned in dir and removes dir. It is idempotent,
// and also cleans up after a Pin that was killed half-way. Files that are not
// pins are left, and are an error.
func Unpin(dir string) error {
	var errs []error
	for _, k := range kinds {
		errs = append(errs, release(dir+"/"+k.name))
	}
	if err := os.Remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("unpin namespaces: %w", err)
	}
	return nil
}

// release unmounts a pin, however many times something is mounted there, and
// removes the file.
func release(file string) error {
	for {
		err := unix.Unmount(file, unix.UMOUNT_NOFOLLOW)
		if err == unix.EBUSY {
			// Someone has the namespace open by this path. The mount goes now, the
			// namespace when they close it.
			err = unix.Unmount(file, unix.UMOUNT_NOFOLLOW|unix.MNT_DETACH)
		}
		if err == unix.EINVAL || err == unix.ENOENT {
			break // not a mount point (any more), or not there
		}
		if err != nil {
			return &os.PathError{Op: "unmount", Path: file, Err: err}
		}
	}
	if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// Check says whether path is a pinned namespace of the type that its name says.
// The error matches fs.ErrNotExist when there is no such file, and
// ErrNotPinned when it is something else.
func Check(file string) error {
	fd, err := unix.Open(file, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: file, Err: err}
	}
	defer unix.Close(fd)
	var st unix.Statfs_t
	if err := unix.Fstatfs(fd, &st); err != nil {
		return &os.PathError{Op: "statfs", Path: file, Err: err}
	}
	if st.Type != unix.NSFS_MAGIC {
		return fmt.Errorf("%s: %w", file, ErrNotPinned)
	}
	flag, err := unix.IoctlRetInt(fd, unix.NS_GET_NSTYPE) // Linux 4.11
	if err != nil {
		return &os.PathError{Op: "type of", Path: file, Err: err}
	}
	for _, k := range kinds {
		if k.name == path.Base(file) && k.flag != flag {
			return fmt.Errorf("%s: holds a namespace of another type (%#x): %w", file, flag, ErrNotPinned)
		}
	}
	return nil
}
