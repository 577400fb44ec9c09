package container

import (
	"os"
	"strings"

	"github.com/varve-cri/varve/runtime/internal/fd"
	"github.com/varve-cri/varve/runtime/internal/mount"
	"github.com/varve-cri/varve/runtime/plan"
	"github.com/varve-cri/varve/runtime/program"
	"golang.org/x/sys/unix"
)

// start is one start under way. open runs on a thread of the host's mount
// namespace, run on the space's.
type start struct {
	plan   *plan.Plan
	self   *self
	tree   *tree
	bag    fd.Bag // closed when the start is over, whatever came of it
	rootFD int

	sources []source // of plan.Mounts; -1 for what is no bind mount
	spaces  []int    // of plan.Namespaces; -1 for a new one
	files   program.Files
	clone   program.Clone
	sealed  []sealed
	prepped bool           // /dev is the waiting space's own
	fresh   map[string]int // tmpfs mounted by this start, by target

	child   program.Child
	console int
}

// source is the detached mount of a bind mount's source.
type source struct {
	fd  int
	dir bool
}

// open opens everything of the plan that is named by a path of the host.
func (s *start) open(stdio Stdio) error {
	s.console = -1
	s.files = program.None()
	s.files.Proc = s.self.proc
	s.files.Null, s.files.Empty = s.tree.null, s.tree.empty
	if err := s.openSources(); err != nil {
		return err
	}
	if err := s.openNamespaces(); err != nil {
		return err
	}
	var err error
	s.files.Cgroups, s.clone.Cgroup, err = cgroupFiles(&s.bag, s.plan.Cgroup.V1, s.plan.Cgroup.V2)
	if err != nil {
		return err
	}
	if s.plan.Process.Terminal {
		return nil
	}
	return stdioFiles(&s.bag, &s.files, stdio, s.plan.Process.UID, s.self.null)
}

func (s *start) openSources() error {
	s.sources = make([]source, len(s.plan.Mounts))
	for i := range s.plan.Mounts {
		m := &s.plan.Mounts[i]
		if m.Type != "bind" {
			s.sources[i].fd = -1
			continue
		}
		if m.Propagation&unix.MS_SHARED != 0 {
			if err := sharedSource(s.self.proc, m.Source); err != nil {
				return fail("check propagation of mount source", m.Source, err)
			}
		}
		fd, err := mount.Clone(unix.AT_FDCWD, m.Source, m.Recursive, m.NoFollow)
		if err != nil {
			return fail("open mount source", m.Source, err)
		}
		s.bag.Add(fd)
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
		s.spaces[i] = s.bag.Add(fd)
	}
	return nil
}

// run does the rest, on the space's thread.
func (s *start) run() error {
	if err := s.join(); err != nil {
		return err
	}
	cmd := program.Command{Process: &s.plan.Process}
	if s.plan.Process.Pause {
		exe, err := pauseProgram()
		if err != nil {
			return fail("make", "the pause program", err)
		}
		if s.files.Exe, err = s.bag.Above(s.bag.Add(exe), program.FirstFree); err != nil {
			return fail("make", "the pause program", err)
		}
	} else {
		if err := s.fill(); err != nil {
			return err
		}
		path, err := find(s.rootFD, cmd.Process)
		if err != nil {
			return err
		}
		cmd.Path = path
		s.files.Known = s.self.known
	}
	child, err := program.Container(s.plan, cmd, s.files, s.self.host).Run(s.clone)
	if err != nil {
		return explain(s.rootFD, cmd, fail("start", s.plan.ID, err))
	}
	s.child = child
	return nil
}

// join enters the namespaces that exist and makes the new ones, but for the
// mount namespace, which the thread has, the cgroup namespace, whose root is
// the cgroup of its maker, and a new PID namespace, which begins with the
// child.
func (s *start) join() error {
	var fresh uint64
	for i, n := range s.plan.Namespaces {
		if s.spaces[i] >= 0 {
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
	return s.names(fresh)
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

func (s *start) started() *Started {
	s.bag.Take(s.console)
	return newStarted(s.child, s.console)
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
