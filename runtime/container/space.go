package container

import (
	"os"
	"sync/atomic"

	"github.com/varve-cri/varve/runtime/internal/fd"
	"github.com/varve-cri/varve/runtime/internal/thread"
	"github.com/varve-cri/varve/runtime/plan"
	"golang.org/x/sys/unix"
)

// Space is a waiting empty mount namespace on a thread of its own. It serves
// one Start. A Space that is not wanted any more is given up with Close.
type Space struct {
	self *self
	used atomic.Bool
	work chan func() // run on the space's thread; closed when there is no more
	tid  int
	tree tree
}

// tree is what the waiting namespace holds: an empty root, over which the
// container's is mounted, and in it a /dev that is moved to where it belongs.
type tree struct {
	bag   fd.Bag
	root  int // of the namespace
	dev   int // root of the /dev tmpfs
	empty int // an empty directory of the root, O_PATH
	null  int // the null device of the /dev, O_PATH
}

// NewSpace does all that can be done before there is work. The caller must be
// in the host's mount namespace.
func NewSpace() (*Space, error) {
	self, err := ownSelf()
	if err != nil {
		return nil, err
	}
	s := &Space{self: self, work: make(chan func())}
	ready := make(chan error)
	thread.Go(func() {
		s.tid = unix.Gettid()
		err := s.tree.prepare()
		ready <- err
		if err != nil {
			return
		}
		for f := range s.work {
			f()
		}
	})
	if err := <-ready; err != nil {
		s.tree.bag.Close()
		return nil, err
	}
	return s, nil
}

// Start makes the container that p describes and runs its first process. root
// is a detached mount (fsmount, open_tree) of the container's root file tree;
// it may be nil when p.Process.Pause is set. The caller keeps root and may
// close it when Start returns. When Start returns an error, which is always a
// *StepError, nothing is left: no process, no mount. Either way the Space is
// used up.
func (s *Space) Start(p *plan.Plan, root *os.File, stdio Stdio) (*Started, error) {
	if s.used.Swap(true) {
		return nil, &StepError{Step: "start", Object: p.ID, Detail: "the space was used before"}
	}
	st := &start{plan: p, self: s.self, tree: &s.tree, rootFD: -1}
	if root != nil {
		st.rootFD = int(root.Fd())
	}
	defer st.bag.Close()
	err := st.open(stdio)
	if err == nil {
		done := make(chan error)
		s.work <- func() { done <- st.run() }
		err = <-done
	}
	close(s.work)
	s.tree.bag.Close()
	if err != nil {
		s.waitGone()
		return nil, fail("start", p.ID, err)
	}
	return st.started(), nil
}

// Close gives up a Space that was not started. It is safe to call after
// Start, and twice.
func (s *Space) Close() {
	if s.used.Swap(true) {
		return
	}
	close(s.work)
	s.tree.bag.Close()
}

// waitGone waits until the space's thread has ended and with it the mount
// namespace, so that the caller of a failed start finds the root free. It is
// on no successful path, and the thread has nothing left to do.
func (s *Space) waitGone() {
	for range 1000 {
		if unix.Tgkill(unix.Getpid(), s.tid, 0) == unix.ESRCH {
			return
		}
		pause := unix.NsecToTimespec(100_000)
		_ = unix.Nanosleep(&pause, nil)
	}
}
