package container

import (
	"os"
	"strings"

	"github.com/varve-cri/varve/runtime/internal/fd"
	"github.com/varve-cri/varve/runtime/internal/mount"
	"github.com/varve-cri/varve/runtime/internal/thread"
	"github.com/varve-cri/varve/runtime/plan"
	"github.com/varve-cri/varve/runtime/program"
	"golang.org/x/sys/unix"
)

// start is one start under way. Two goroutines share the work: the caller's,
// in the host's mount namespace, opens what the plan names by paths of the
// host (open); the space's thread makes the container (run), and waits for the
// other only where it needs what that has opened.
type start struct {
	plan   *plan.Plan
	self   *self
	tree   *tree
	rootFD int
	spaces []int // of plan.Namespaces; -1 for a new one

	// The caller's side, which the thread reads when it has heard of it.
	given    fd.Bag     // closed when the start is over, whatever came of it
	images   []*os.File // detached mounts that are not a source yet
	sources  []source   // of plan.Mounts; -1 for what is a file system of its own
	opened   chan error // tells of sources
	entrance entrance
	entered  chan error // tells of entrance

	// The thread's side.
	bag     fd.Bag // closed as given is
	heard   bool   // of opened
	files   program.Files
	outside bool // of the PID namespace, in which others are
	clone   program.Clone
	sealed  []sealed
	prepped bool           // /dev is the waiting space's own
	fresh   map[string]int // tmpfs mounted by this start, by target
	console int
}

// source is the detached mount of a bind mount's source.
type source struct {
	fd  int
	dir bool
}

// entrance is what the child takes with it, or goes into, of the host's.
type entrance struct {
	cgroups []int // tasks of plan.Cgroup.V1
	cgroup  int   // directory of plan.Cgroup.V2
	streams streams
}

// newStart opens what the thread needs first.
func (s *Space) newStart(p *plan.Plan, root *os.File) (*start, error) {
	st := &start{
		plan: p, self: s.self, tree: &s.tree, rootFD: -1, console: -1,
		opened: make(chan error, 1), entered: make(chan error, 1),
	}
	if root != nil {
		st.rootFD = int(root.Fd())
	}
	st.clone.Copy = s.self.copy
	st.files = program.None()
	st.files.Proc = s.self.proc
	st.files.Null, st.files.Empty = s.tree.null, s.tree.empty
	return st, st.openNamespaces()
}

// open opens everything else that the plan names by a path of the host, and
// has the caller do its part.
func (s *start) open(c *Caller) {
	err := s.openSources()
	s.opened <- err
	if err == nil {
		s.entered <- s.openEntrance(c)
	}
}

func (s *start) openEntrance(c *Caller) error {
	e := &s.entrance
	var err error
	e.cgroups, e.cgroup, err = cgroupFiles(&s.given, s.plan.Cgroup.V1, s.plan.Cgroup.V2)
	if err != nil {
		return err
	}
	var stdio Stdio
	if c.Ready != nil {
		if stdio, err = c.Ready(); err != nil {
			return err
		}
	}
	e.streams, err = openStreams(&s.given, stdio.descriptors(), &s.plan.Process, s.self.null)
	return err
}

// waitSources returns when the sources of bind mounts are open.
func (s *start) waitSources() error {
	if s.heard {
		return nil
	}
	s.heard = true
	return <-s.opened
}

// waitEntrance returns when nothing is missing any more.
func (s *start) waitEntrance() error {
	if err := s.waitSources(); err != nil {
		return err
	}
	if err := <-s.entered; err != nil {
		return err
	}
	s.files.Cgroups, s.clone.Cgroup = s.entrance.cgroups, s.entrance.cgroup
	s.entrance.streams.put(&s.files)
	return nil
}

func (s *start) close() {
	s.given.Close()
	s.bag.Close()
}

func (s *start) openSources() error {
	if have, want := len(s.images), s.plan.Images(); have != want {
		return &StepError{Step: "open mount source", Object: s.plan.ID, Errno: unix.EBADF, Detail: itoa(have) + " images for " + itoa(want) + " mounts"}
	}
	s.sources = make([]source, len(s.plan.Mounts))
	for i := range s.plan.Mounts {
		m := &s.plan.Mounts[i]
		if !m.Bound() {
			s.sources[i].fd = -1
			continue
		}
		fd, err := s.openSource(m)
		if err != nil {
			return err
		}
		if err := setAttributes(fd, m); err != nil {
			return fail("set mount attributes", m.Target, err)
		}
		var st unix.Stat_t
		if err := unix.Fstat(fd, &st); err != nil {
			return fail("open mount source", m.Source, err)
		}
		s.sources[i] = source{fd: fd, dir: st.Mode&unix.S_IFMT == unix.S_IFDIR}
	}
	return nil
}

// openSource gives the detached mount of what a mount shows.
func (s *start) openSource(m *plan.Mount) (int, error) {
	if m.Type == plan.Image {
		fd := int(s.images[0].Fd())
		s.images = s.images[1:]
		return fd, nil
	}
	if m.Propagation&unix.MS_SHARED != 0 {
		if err := sharedSource(s.self.proc, m.Source); err != nil {
			return -1, fail("check propagation of mount source", m.Source, err)
		}
	}
	fd, err := mount.Clone(unix.AT_FDCWD, m.Source, m.Recursive, m.NoFollow)
	if err != nil {
		return -1, fail("open mount source", m.Source, err)
	}
	return s.given.Add(fd), nil
}

// setAttributes gives a cloned mount what the plan says. What the source's
// mount already forbids stays forbidden: attributes are added, and taken away
// only where the plan names them. A clone starts as a peer of its source, so
// the propagation is always set.
func setAttributes(fd int, m *plan.Mount) error {
	rec := unix.MountAttr{
		Attr_set: m.RecAttrSet, Attr_clr: m.RecAttrClear,
		Propagation: m.Propagation &^ unix.MS_REC,
	}
	deep := m.Propagation == 0 || m.Propagation&unix.MS_REC != 0
	if rec.Propagation == 0 {
		rec.Propagation = unix.MS_PRIVATE
	}
	one := unix.MountAttr{Attr_set: m.AttrSet, Attr_clr: m.AttrClear}
	if !m.Recursive || !deep {
		one.Propagation, rec.Propagation = rec.Propagation, 0
	}
	if rec != (unix.MountAttr{}) {
		if err := mount.Set(fd, rec, true); err != nil {
			return err
		}
	}
	if one == (unix.MountAttr{}) {
		return nil
	}
	return mount.Set(fd, one, false)
}

func (s *start) openNamespaces() error {
	s.spaces = make([]int, len(s.plan.Namespaces))
	for i, n := range s.plan.Namespaces {
		s.spaces[i] = -1
		if n.Path == "" {
			continue
		}
		fd, err := unix.Open(n.Path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return fail("open namespace", n.Path, err)
		}
		s.spaces[i] = s.given.Add(fd)
	}
	return nil
}

// run makes the container and its first process, on the space's thread.
func (s *start) run(c *Caller) (*Started, error) {
	cmd, err := s.prepare()
	if err != nil {
		return nil, fail("start", s.plan.ID, err)
	}
	if err := s.waitEntrance(); err != nil {
		return nil, err
	}
	child, err := program.Container(s.plan, cmd, s.files, s.self.host).Run(s.clone)
	if err == nil && child.PIDFD < 0 {
		err = unix.ESRCH // nobody else waits here: the number is not of a child
	}
	if err != nil {
		return nil, explain(s.rootFD, cmd, fail("start", s.plan.ID, err))
	}
	started := newStarted(child, s.bag.Take(s.console))
	if c.Running == nil {
		return started, nil
	}
	return started, c.Running(started)
}

// prepare makes all that the process will find, and finds its program.
func (s *start) prepare() (program.Command, error) {
	cmd := program.Command{Process: &s.plan.Process}
	if err := s.join(); err != nil {
		return cmd, err
	}
	cmd.Outside = s.outside
	if s.plan.Process.Pause {
		exe, err := pauseProgram()
		if err != nil {
			return cmd, fail("make", "the pause program", err)
		}
		if s.files.Exe, err = s.bag.Above(s.bag.Add(exe), program.FirstFree); err != nil {
			return cmd, fail("make", "the pause program", err)
		}
		return cmd, nil
	}
	if err := s.fill(); err != nil {
		return cmd, err
	}
	s.files.Known = s.self.known
	var err error
	cmd.Path, err = find(s.rootFD, cmd.Process)
	return cmd, err
}

// join enters the namespaces that exist and makes the new ones, but for the
// mount namespace, which the thread has, the cgroup namespace, whose root is
// the cgroup of its maker, and a new PID namespace, which begins with the
// child.
func (s *start) join() error {
	var fresh uint64
	for i, n := range s.plan.Namespaces {
		switch {
		case n.Type == unix.CLONE_NEWUSER:
			// No thread of a Go process can enter one: the child does.
			s.files.User = s.spaces[i]
			continue
		case n.Type == unix.CLONE_NEWPID && s.spaces[i] >= 0:
			// Others are in it: the child must not be seen there (CVE-2016-9962).
			s.outside, s.files.PIDs = true, s.spaces[i]
			continue
		case s.spaces[i] >= 0:
			if err := unix.Setns(s.spaces[i], int(n.Type)); err != nil {
				return fail("join namespace", n.Path, err)
			}
			continue
		}
		switch n.Type {
		case unix.CLONE_NEWPID:
			s.clone.Flags |= unix.CLONE_NEWPID
		case unix.CLONE_NEWNS, unix.CLONE_NEWCGROUP:
		default:
			fresh |= uint64(n.Type)
		}
	}
	if fresh != 0 {
		if err := unix.Unshare(int(fresh)); err != nil {
			return fail("make namespaces", "", err)
		}
	}
	if err := s.names(fresh); err != nil {
		return err
	}
	return s.own()
}

// own has all that the thread makes from now on belong to the container's root,
// also on its root mount, where the host's root is nobody.
func (s *start) own() error {
	if !s.plan.Process.UserNS {
		return nil
	}
	if err := thread.Become(s.plan.Owner.UID, s.plan.Owner.GID); err != nil {
		return fail("become", "root of the container", err)
	}
	return nil
}

// names sets the host name, never that of a UTS namespace that is not new.
func (s *start) names(fresh uint64) error {
	if fresh&unix.CLONE_NEWUTS == 0 {
		return nil
	}
	if s.plan.Hostname != "" {
		if err := unix.Sethostname([]byte(s.plan.Hostname)); err != nil {
			return fail("set host name", s.plan.Hostname, err)
		}
	}
	if s.plan.Domainname != "" {
		if err := unix.Setdomainname([]byte(s.plan.Domainname)); err != nil {
			return fail("set domain name", s.plan.Domainname, err)
		}
	}
	return nil
}

func newStarted(c program.Child, console int) *Started {
	st := &Started{PID: c.PID, PIDFD: os.NewFile(uintptr(c.PIDFD), "pidfd")}
	if console >= 0 {
		st.Console = os.NewFile(uintptr(console), "console")
	}
	return st
}

func below(path, dir string) bool {
	return strings.HasPrefix(path, dir+"/")
}
