package container

import (
	"path"

	"github.com/varve-cri/varve/runtime/internal/mount"
	"github.com/varve-cri/varve/runtime/plan"
	"golang.org/x/sys/unix"
)

// The attributes of the prepared /dev and /dev/pts.
const (
	devAttr = unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_STRICTATIME
	ptsAttr = unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NOEXEC

	// What covers a masked directory is a copy of a mount with these.
	emptyAttr = unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV | unix.MOUNT_ATTR_NOEXEC
)

// prepare leaves the host's mount namespace and fills the new one. The cost
// of the copy of the host's mount table, which grows with the table, falls
// here and not on a start; so does that of pivot_root, which looks at every
// thread of the host.
func (t *tree) prepare() error {
	if err := unix.Unshare(unix.CLONE_NEWNS | unix.CLONE_FS); err != nil {
		return fail("make namespace", "mount", err)
	}
	unix.Umask(0) // of this thread only: modes are meant as they are written
	if err := t.leave(); err != nil {
		return fail("leave", "the host's mounts", err)
	}
	if err := t.fill(); err != nil {
		return fail("prepare", "/dev", err)
	}
	return nil
}

// leave makes a tmpfs with two empty directories in it, and then for ever
// read-only, the only mount of the namespace.
func (t *tree) leave() error {
	old, err := unix.Open("/", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(old)
	if err := mount.Set(old, unix.MountAttr{Propagation: unix.MS_PRIVATE}, true); err != nil {
		return err
	}
	if t.root, err = t.tmpfs(old); err != nil {
		return err
	}
	for _, dir := range []string{"dev", "empty"} {
		if err := unix.Mkdirat(t.root, dir, 0o755); err != nil {
			return err
		}
	}
	if err := mount.Set(t.root, unix.MountAttr{Attr_set: emptyAttr}, false); err != nil {
		return err
	}
	if err := unix.Fchdir(t.root); err != nil {
		return err
	}
	if err := unix.PivotRoot(".", "."); err != nil {
		return err
	}
	// The old root now lies over the new one.
	if err := unix.Fchdir(old); err != nil {
		return err
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return err
	}
	return unix.Chdir("/")
}

// tmpfs mounts a tmpfs of the form of /dev on target.
func (t *tree) tmpfs(target int) (int, error) {
	fd, err := mount.New("tmpfs", "tmpfs", plan.StandardDevData(), devAttr)
	if err != nil {
		return -1, err
	}
	t.bag.Add(fd)
	return fd, mount.Attach(fd, target)
}

// fill makes the /dev.
func (t *tree) fill() error {
	place, err := unix.Openat(t.root, "dev", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(place)
	if t.dev, err = t.tmpfs(place); err != nil {
		return err
	}
	for _, d := range plan.StandardDevices() {
		if err := unix.Mknodat(t.dev, path.Base(d.Path), unix.S_IFCHR|d.Mode, int(unix.Mkdev(d.Major, d.Minor))); err != nil {
			return err
		}
	}
	for _, l := range plan.StandardLinks() {
		if err := unix.Symlinkat(l.Target, t.dev, path.Base(l.Path)); err != nil {
			return err
		}
	}
	for _, dir := range []string{"pts", "shm", "mqueue"} {
		if err := unix.Mkdirat(t.dev, dir, 0o755); err != nil {
			return err
		}
	}
	pts, err := mount.New("devpts", "devpts", plan.StandardPtsData(), ptsAttr)
	if err != nil {
		return err
	}
	defer unix.Close(pts)
	point, err := unix.Openat(t.dev, "pts", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(point)
	if err := mount.Attach(pts, point); err != nil {
		return err
	}
	return t.sources()
}

// sources opens what masks are copied from.
func (t *tree) sources() error {
	empty, err := unix.Openat(t.root, "empty", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	t.empty = t.bag.Add(empty)
	null, err := unix.Openat(t.dev, "null", unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	t.null = t.bag.Add(null)
	return nil
}
