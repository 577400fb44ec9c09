package overlay

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/varve-cri/varve/imagestore/layer"
	"github.com/varve-cri/varve/imagestore/namespace"
	"github.com/varve-cri/varve/runtime/idmap"
)

// mountMapped mounts with other owners. The overlay file system has no mapping
// of its own: it takes over that of the mounts which its directories are on
// (Linux 5.19). One detached copy of the mount that all of them are on has it for
// all, however many they are.
//
// Overlay does its own work, such as copying up, as who has mounted it: that must be
// somebody whom the mapping knows, or the root is read-only.
func (d *Driver) mountMapped(o options, owners *layer.Owners) (*os.File, error) {
	tree, err := mapped(owners.Dir, owners.Namespace)
	if err != nil {
		return nil, err
	}
	defer tree.Close()
	o.open = func(dir string) (int, error) { return openBelow(tree, owners.Dir, dir) }
	var f *os.File
	if !d.attach.Load() && d.api.name == mountAPIs[0].name {
		err = idmap.As(owners.UID, owners.GID, func() (err error) {
			f, err = mountByFD(o)
			return err
		})
		if !errors.Is(err, unix.EINVAL) {
			return f, err
		}
	}
	// Before Linux 6.15 overlay takes as a layer only a mount of the namespace that
	// its caller is in, and no detached one.
	f, attached := namespace.Do(func() (*os.File, error) { return d.mountAttached(o, tree, owners) })
	if attached != nil {
		return nil, errors.Join(err, attached)
	}
	d.attach.Store(true)
	return f, nil
}

// Attach says beforehand that this kernel takes no detached mount as a layer.
func (d *Driver) Attach() { d.attach.Store(true) }

// mountAttached does it in a mount namespace of the thread's own, where it mounts
// what the directories are in. Any directory can be mounted over: no one else sees
// it.
func (d *Driver) mountAttached(o options, tree *os.File, owners *layer.Owners) (*os.File, error) {
	attach := func(fd int) error {
		err := unix.MoveMount(fd, "", unix.AT_FDCWD, "/", unix.MOVE_MOUNT_F_EMPTY_PATH)
		return os.NewSyscallError("move_mount", err)
	}
	if err := attach(int(tree.Fd())); err != nil {
		return nil, err
	}
	open := o.open
	o.open = func(dir string) (int, error) {
		fd, err := open(dir)
		if err == nil && strings.HasPrefix(dir, fdDir) {
			err = attach(fd)
		}
		return fd, err
	}
	if err := idmap.Become(owners.UID, owners.GID); err != nil {
		return nil, err
	}
	return d.api.inside(o)
}

// mapped gives a detached copy of the mount at dir with the mapping of ns.
func mapped(dir string, ns *os.File) (*os.File, error) {
	fd, err := unix.OpenTree(unix.AT_FDCWD, dir, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return nil, &os.PathError{Op: "open_tree", Path: dir, Err: err}
	}
	f := os.NewFile(uintptr(fd), dir)
	if err := idmap.Mount(f, ns, false); err != nil {
		f.Close()
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	return f, nil
}

// Mapped gives a detached copy of a mount, which is not itself changed, with
// other owners.
func Mapped(mount *os.File, ns *os.File) (*os.File, error) {
	return mapped(fdPath(int(mount.Fd())), ns)
}

// openBelow opens a directory through the copy of what it lies in. Of any other,
// which is a descriptor's, the mount is used as it is.
func openBelow(tree *os.File, top, dir string) (int, error) {
	rest, ok := strings.CutPrefix(filepath.Clean(dir), filepath.Clean(top)+"/")
	if !ok {
		return openPath(dir)
	}
	fd, err := unix.Openat(int(tree.Fd()), rest, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, &os.PathError{Op: "open", Path: dir, Err: err}
	}
	return fd, nil
}

// TryOwners implements layer.Driver: a root is mounted, and a file made in it.
func (d *Driver) TryOwners(dir string, o *layer.Owners) error {
	dir, err := os.MkdirTemp(dir, "probe-owners-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	s := layer.Stack{Base: filepath.Join(dir, "base"), Upper: filepath.Join(dir, "upper"), Work: filepath.Join(dir, "work"), Owners: o}
	for _, d := range []string{s.Base, s.Upper, s.Work} {
		err = errors.Join(err, os.Mkdir(d, 0o700))
	}
	if err != nil {
		return err
	}
	root, err := d.Mount(s)
	if err != nil {
		return err
	}
	defer root.Close()
	return idmap.As(o.UID, o.GID, func() error {
		fd, err := unix.Openat(int(root.Fd()), "made", unix.O_CREAT|unix.O_EXCL|unix.O_WRONLY|unix.O_CLOEXEC, 0o600)
		if err != nil {
			return fmt.Errorf("make a file through overlay: %w", err)
		}
		f := os.NewFile(uintptr(fd), "made")
		defer f.Close()
		return Shown(f, o)
	})
}

// Shown says whether a file that is root's on the disk is shown as it must be.
func Shown(f *os.File, o *layer.Owners) error {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return err
	}
	if st.Uid != o.UID || st.Gid != o.GID {
		return fmt.Errorf("a file of root is shown as that of %d:%d, not %d:%d", st.Uid, st.Gid, o.UID, o.GID)
	}
	return nil
}
