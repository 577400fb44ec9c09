package container

import (
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/varve-cri/varve/runtime/inroot"
	"github.com/varve-cri/varve/runtime/internal/mount"
	"github.com/varve-cri/varve/runtime/plan"
)

// sealed is a mount that becomes read-only when all else is in its place.
type sealed struct {
	fd   int
	path string
}

// fill makes the waiting namespace the container's: its root, its mounts,
// its devices.
func (s *start) fill() error {
	if s.rootFD < 0 {
		return &StepError{Step: "attach root", Object: s.plan.ID, Errno: unix.EBADF}
	}
	if err := s.attachRoot(); err != nil {
		return fail("attach root", s.plan.ID, err)
	}
	for i := range s.plan.Mounts {
		m := &s.plan.Mounts[i]
		if err := s.mount(i, m); err != nil {
			return fail("mount", label(m), err)
		}
	}
	if err := s.nodes(); err != nil {
		return err
	}
	if err := s.workingDirectory(); err != nil {
		return err
	}
	if err := s.terminal(); err != nil {
		return err
	}
	return s.seal()
}

// label names a mount for people.
func label(m *plan.Mount) string {
	if m.Bound() {
		return m.Source + " on " + m.Target
	}
	return m.Type + " on " + m.Target
}

// attachRoot mounts the container's root over the empty one of the namespace
// and makes it the thread's. To the kernel what lies on a namespace's root is
// that root (setns goes there, and who has it is not in a chroot), and what
// lies below shows nothing and cannot be written. pivot_root would be no
// safer, and takes time that grows with the host's number of threads.
func (s *start) attachRoot() error {
	if err := mount.Attach(s.rootFD, s.tree.root); err != nil {
		return err
	}
	if err := unix.Fchdir(s.rootFD); err != nil {
		return err
	}
	if err := unix.Chroot("."); err != nil {
		return err
	}
	// The ready /dev is the host's root's, and could not be written in.
	s.prepped = !s.plan.Process.UserNS && usualDev(s.plan.Mounts)
	return nil
}

// moveDev moves the ready /dev, with the devpts in it, to its place.
func (s *start) moveDev(m *plan.Mount) error {
	target, err := inroot.RealDir(s.rootFD, "/dev", 0o755)
	if err != nil {
		return err
	}
	defer unix.Close(target)
	s.sealLater(s.tree.dev, m)
	return mount.Attach(s.tree.dev, target)
}

// usualDev reports whether the plan's /dev and /dev/pts are those that the
// space holds, and come before anything else that is mounted below.
func usualDev(mounts []plan.Mount) bool {
	dev, pts := false, false
	for i := range mounts {
		m := &mounts[i]
		switch {
		case m.Target == "/dev":
			if dev || !usual(m, "tmpfs", devAttr, plan.StandardDevData()) {
				return false
			}
			dev = true
		case m.Target == "/dev/pts":
			if pts || !dev || !usual(m, "devpts", ptsAttr, plan.StandardPtsData()) {
				return false
			}
			pts = true
		case below(m.Target, "/dev") && !dev, below(m.Target, "/dev/pts"):
			return false
		}
	}
	return dev && pts
}

func usual(m *plan.Mount, fstype string, attr uint64, data []string) bool {
	return m.Type == fstype && m.AttrSet&^unix.MOUNT_ATTR_RDONLY == attr && m.Propagation == 0 && len(m.Data) == len(data) &&
		!slices.ContainsFunc(m.Data, func(o string) bool { return !slices.Contains(data, o) })
}

// mount makes one mount of the list.
func (s *start) mount(i int, m *plan.Mount) error {
	s.forget(strings.TrimRight(m.Target, "/"))
	if m.Bound() {
		if err := s.waitSources(); err != nil {
			return err
		}
	}
	switch {
	case s.prepped && m.Target == "/dev":
		return s.moveDev(m)
	case s.prepped && m.Target == "/dev/pts":
		return nil
	case m.Type == "proc":
		dir, err := inroot.RealDir(s.rootFD, m.Target, 0o755)
		if err != nil {
			return err
		}
		s.files.ProcTarget = s.bag.Add(dir)
		if s.outside {
			s.files.ProcMount, err = s.procfs(m)
		}
		return err
	case m.Type == "bind" && below(m.Target, "/proc"):
		s.files.BelowProc = append(s.files.BelowProc, belowProc(m.Target, s.sources[i].fd))
		return nil
	case m.Bound():
		return s.bind(&s.sources[i], m)
	}
	return s.newMount(m)
}

func (s *start) bind(src *source, m *plan.Mount) error {
	open := inroot.Dir
	mode := uint32(0o755)
	if !src.dir {
		open, mode = inroot.File, 0o644
	}
	target, err := s.below(m.Target, src.dir)
	if target < 0 && err == nil {
		target, err = open(s.rootFD, m.Target, mode)
	}
	if err != nil {
		return err
	}
	defer unix.Close(target)
	return mount.Attach(src.fd, target)
}

// below makes and opens the target of a directory's bind mount that lies
// directly in a tmpfs which this start has mounted (-1 for any other): the
// nine of /sys/fs/cgroup on a v1 host. Nobody else has seen that tmpfs, so
// that there is no link to be resolved, and the way to it is not searched for
// each of them.
func (s *start) below(target string, dir bool) (int, error) {
	parent, name := path.Split(target)
	fs, ok := s.fresh[strings.TrimSuffix(parent, "/")]
	if !ok || !dir || name == "" || name == "." || name == ".." {
		return -1, nil
	}
	err := unix.Mkdirat(fs, name, 0o755)
	if err != nil && err != unix.EEXIST {
		return -1, err
	}
	return unix.Openat(fs, name, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
}

// newMount mounts a filesystem of its own. Of sysfs and mqueue it is the
// thread's namespaces that decide what they show, which is why those were
// joined before.
func (s *start) newMount(m *plan.Mount) error {
	attr := m.AttrSet
	if m.Type == "tmpfs" {
		attr &^= unix.MOUNT_ATTR_RDONLY // what is mounted in it needs its targets made
	}
	target, err := s.target(m)
	if err != nil {
		return err
	}
	defer unix.Close(target)
	fd, err := mount.New(m.Type, m.Source, m.Data, int(attr))
	if err != nil {
		return err
	}
	s.bag.Add(fd)
	if m.Type == "mqueue" && s.plan.Process.UserNS {
		// Its root is of who made the IPC namespace, and stays so.
		if err := unix.Fchownat(fd, "", int(s.plan.Owner.UID), int(s.plan.Owner.GID), unix.AT_EMPTY_PATH); err != nil {
			return err
		}
	}
	if prop := m.Propagation &^ unix.MS_REC; prop != 0 && prop != unix.MS_PRIVATE {
		if err := mount.Set(fd, unix.MountAttr{Propagation: prop}, false); err != nil {
			return err
		}
	}
	if err := mount.Attach(fd, target); err != nil {
		return err
	}
	if m.Type == "tmpfs" {
		s.sealLater(fd, m)
		s.remember(m.Target, fd)
	}
	return nil
}

// forget drops what is about to be covered.
func (s *start) forget(target string) {
	for have := range s.fresh {
		if have == target || below(have, target) {
			delete(s.fresh, have)
		}
	}
}

// remember notes a tmpfs of this start as the one at target, whatever was
// there before.
func (s *start) remember(target string, fd int) {
	if s.fresh == nil {
		s.fresh = map[string]int{}
	}
	s.fresh[strings.TrimRight(target, "/")] = fd
}

func (s *start) target(m *plan.Mount) (int, error) {
	switch strings.TrimRight(m.Target, "/") {
	case "/dev", "/sys", "/proc":
		return inroot.RealDir(s.rootFD, m.Target, 0o755)
	}
	return inroot.Dir(s.rootFD, m.Target, 0o755)
}

func (s *start) sealLater(fd int, m *plan.Mount) {
	if m.AttrSet&unix.MOUNT_ATTR_RDONLY != 0 {
		s.sealed = append(s.sealed, sealed{fd, m.Target})
	}
}

// seal makes read-only what had to be writable until now, and sets how
// mounts spread from the root.
func (s *start) seal() error {
	for _, one := range s.sealed {
		if err := mount.Set(one.fd, unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}, false); err != nil {
			return fail("make read-only", one.path, err)
		}
	}
	var attr unix.MountAttr
	if s.plan.Root.Readonly {
		attr.Attr_set = unix.MOUNT_ATTR_RDONLY
	}
	if p := s.plan.Root.Propagation &^ unix.MS_REC; p != unix.MS_PRIVATE {
		attr.Propagation = p
	}
	if attr == (unix.MountAttr{}) {
		return nil
	}
	if err := mount.Set(s.rootFD, attr, false); err != nil {
		return fail("set attributes of", "the root", err)
	}
	return nil
}
