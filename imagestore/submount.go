package imagestore

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/varve-cri/varve/imagestore/namespace"
)

// subMount gives the directory or file at a path of a detached mount as a mount of
// its own. The path is resolved inside: "..", absolute paths and symbolic links
// end at the root, whatever they say.
func subMount(root *os.File, path string) (*os.File, error) {
	at, err := inside(int(root.Fd()), path, unix.O_PATH, unix.RESOLVE_IN_ROOT)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSubPath, err)
	}
	defer at.Close()
	info, err := at.Stat()
	if err != nil {
		return nil, err
	}
	if !info.IsDir() && !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: %w", path, ErrSubPath)
	}
	fd, err := cloneMount(at)
	if err == unix.EINVAL {
		// Before Linux 6.15 only what is mounted somewhere can be cloned.
		return subMountAttached(root, path)
	}
	return mountFile(fd, err)
}

func cloneMount(at *os.File) (int, error) {
	return unix.OpenTree(int(at.Fd()), "", unix.AT_EMPTY_PATH|unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
}

func mountFile(fd int, err error) (*os.File, error) {
	if err != nil {
		return nil, os.NewSyscallError("open_tree", err)
	}
	return os.NewFile(uintptr(fd), "image"), nil
}

// subMountAttached does it in a mount namespace of its own, where it mounts the
// root.
func subMountAttached(root *os.File, path string) (*os.File, error) {
	return namespace.Do(func() (*os.File, error) { return subMountInside(root, path) })
}

func subMountInside(root *os.File, path string) (*os.File, error) {
	// Any directory can be mounted over: no one else sees it.
	if err := unix.MoveMount(int(root.Fd()), "", unix.AT_FDCWD, "/", unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return nil, os.NewSyscallError("move_mount", err)
	}
	at, err := inside(int(root.Fd()), path, unix.O_PATH, unix.RESOLVE_IN_ROOT)
	if err != nil {
		return nil, err
	}
	defer at.Close()
	return mountFile(cloneMount(at))
}
