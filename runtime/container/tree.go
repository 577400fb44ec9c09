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
)

// prepare leaves the host's mount namespace and fills the new one. The cost
// of the copy of the host's mount table, which grows with the table, falls
// here and not on a start.
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

// leave makes the /dev tmpfs the only mount of the namespace.
func (t *tree) leave() error {
	old, err := unix.Open("/", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(old)
	private := unix.MountAttr{Propagation: unix.MS_PRIVATE}
	if err := mount.Set(old, private, true); err != nil {
		return err
	}
	root, err := mount.New("tmpfs", "tmpfs", plan.StandardDevData(), devAttr)
	if err != nil {
		return err
	}
	t.root = t.bag.Add(root)
	if err := mount.Attach(root, old); err != nil {
		return err
	}
	if err := pivotOver(root); err != nil {
		return err
	}
	return detach(old)
}

// pivotOver makes the mount root the root of the namespace and of the
// thread; the old root stays mounted over it.
func pivotOver(root int) error {
	if err := unix.Fchdir(root); err != nil {
		return err
	}
	return unix.PivotRoot(".", ".")
}

// detach takes the mount away whose root is the descriptor dir.
func detach(dir int) error {
	if err := unix.Fchdir(dir); err != nil {
		return err
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return err
	}
	return unix.Chdir("/")
}

func (t *tree) fill() error {
	for _, d := range plan.StandardDevices() {
		if err := unix.Mknodat(t.root, path.Base(d.Path), unix.S_IFCHR|d.Mode, int(unix.Mkdev(d.Major, d.Minor))); err != nil {
			return err
		}
	}
	for _, l := range plan.StandardLinks() {
		if err := unix.Symlinkat(l.Target, t.root, path.Base(l.Path)); err != nil {
			return err
		}
	}
	for _, dir := range []string{"pts", "shm", "mqueue"} {
		if err := unix.Mkdirat(t.root, dir, 0o755); err != nil {
			return err
		}
	}
	for _, at := range []struct {
		fd   *int
		name string
	}{{&t.slot, "shm"}, {&t.empty, "pts"}, {&t.null, "null"}} {
		fd, err := unix.Openat(t.root, at.name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		*at.fd = t.bag.Add(fd)
	}
	pts, err := mount.New("devpts", "devpts", plan.StandardPtsData(), ptsAttr)
	if err != nil {
		return err
	}
	defer unix.Close(pts)
	return mount.Attach(pts, t.empty)
}
