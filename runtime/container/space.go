package container

import (
	"os"
	"sync/atomic"
	"time"

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

	start *start // the one that has used it; nil again when it is tidied up
	ended bool
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

// Caller is the caller's part in a start.
type Caller struct {
	// Images are the detached mounts of the plan's mounts of that type, in order.
	// The caller keeps them, and may close them when Run returns.
	Images []*os.File
	// Ready does what must be done before the first process runs, and returns
	// its streams. It runs on the goroutine that called Run, while the space's
	// thread makes the mounts. Its error undoes the start. It may be nil.
	Ready func() (Stdio, error)
	// Running is told that the process runs, on the space's thread and before
	// anything is tidied up. It may be nil.
	Running func(*Started) error
}

// Start is Run for a caller that has everything ready, with Close after it.
func (s *Space) Start(p *plan.Plan, root *os.File, stdio Stdio) (*Started, error) {
	defer s.Close()
	return s.Run(p, root, Caller{Ready: func() (Stdio, error) { return stdio, nil }})
}

// Run makes the container that p describes and runs its first process. root
// is a detached mount (fsmount, open_tree) of the container's root file tree;
// it may be nil when p.Process.Pause is set. The caller keeps root and may
// close it when Run returns. When Run returns a *StepError, nothing is left: no
// process, no mount. Any other error is one of the Caller's: Ready's leaves
// nothing either, Running's has a process that is the Caller's to end. The Space
// is used up, and must be closed.
func (s *Space) Run(p *plan.Plan, root *os.File, c Caller) (*Started, error) {
	if s.used.Swap(true) {
		return nil, &StepError{Step: "start", Object: p.ID, Detail: "the space was used before"}
	}
	st, err := s.newStart(p, root)
	st.images = c.Images
	s.start = st
	var started *Started
	if err == nil {
		done := make(chan error, 1)
		s.work <- func() {
			var err error
			started, err = st.run(&c)
			done <- err
		}
		st.open(&c)
		err = <-done
	}
	if err != nil && started == nil {
		s.end()
		s.waitGone()
	}
	return started, err
}

// Close gives up a Space that was not started, or what a start has left of
// one. It is safe to call twice.
func (s *Space) Close() {
	s.used.Store(true)
	s.end()
}

func (s *Space) end() {
	if s.ended {
		return
	}
	s.ended = true
	close(s.work)
	if s.start != nil {
		s.start.close()
		s.start = nil
	}
	s.tree.bag.Close()
}

// gonePatience is for a machine on which even a thread that has nothing left to do
// is not run for seconds.
const gonePatience = 10 * time.Second

// waitGone waits until the space's thread has ended and with it the mount
// namespace, so that the caller of a failed start finds the root free. It is
// on no successful path, and the thread has nothing left to do.
func (s *Space) waitGone() {
	end := time.Now().Add(gonePatience)
	for pause := 100 * time.Microsecond; time.Now().Before(end); pause = min(2*pause, 10*time.Millisecond) {
		if unix.Tgkill(unix.Getpid(), s.tid, 0) == unix.ESRCH {
			return
		}
		nap := unix.NsecToTimespec(pause.Nanoseconds())
		_ = unix.Nanosleep(&nap, nil)
	}
}
