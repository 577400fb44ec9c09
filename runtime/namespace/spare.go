package namespace

import (
	"fmt"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Pool keeps network namespaces that wait for their pods, each with its
// loopback device up. The kernel takes half a millisecond to make one, which is
// spent here between pods. They are open files and nothing else: with the
// process they are gone.
//
// The first pod finds the pool empty, so that a node whose pods are all on the
// host's network has none.
type Pool struct {
	want int

	mu     sync.Mutex
	ready  []*os.File
	last   time.Time // when one was asked for
	filled bool      // a goroutine is at it
	closed bool
}

// poolQuiet is how long after a pod began another namespace is made: when the
// processors, and the plugins, are the pod's no longer.
const poolQuiet = 100 * time.Millisecond

// NewPool makes a pool of at most want namespaces; one of 0 works, too.
func NewPool(want int) *Pool { return &Pool{want: want} }

// Close lets go of all.
func (p *Pool) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	for _, f := range p.ready {
		_ = f.Close()
	}
	p.ready = nil
}

// Waiting is how many namespaces wait for pods.
func (p *Pool) Waiting() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.ready)
}

// Pin is the function of that name, with a network namespace of the pool.
func (p *Pool) Pin(dir string, s Spec) error {
	if s.Net && s.User == nil { // those that wait belong to the host
		if f := p.take(); f != nil {
			defer f.Close()
			s.net = f
		}
	}
	return Pin(dir, s)
}

func (p *Pool) take() *os.File {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || p.want <= 0 {
		return nil
	}
	p.last = time.Now()
	if !p.filled {
		p.filled = true
		go p.fill()
	}
	if len(p.ready) == 0 {
		return nil
	}
	f := p.ready[0]
	p.ready = p.ready[1:]
	return f
}

// fill makes what is missing, and ends.
func (p *Pool) fill() {
	for {
		time.Sleep(max(0, p.rest()))
		f, err := newNetwork()
		if !p.add(f, err) {
			return
		}
	}
}

func (p *Pool) rest() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return poolQuiet - time.Since(p.last)
}

// add files a new one, and says whether another is wanted. Where none can be
// made, pods have to try for themselves and tell.
func (p *Pool) add(f *os.File, err error) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case err != nil:
		p.filled = false
		return false
	case p.closed:
		_ = f.Close()
		return false
	}
	p.ready = append(p.ready, f)
	p.filled = len(p.ready) < p.want
	return p.filled
}

// newNetwork makes a network namespace with its loopback device up.
func newNetwork() (f *os.File, err error) {
	err = onThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("unshare: %w", err)
		}
		if err := raiseLoopback(); err != nil {
			return fmt.Errorf("set lo up: %w", err)
		}
		var err error
		f, err = os.Open("/proc/thread-self/ns/net")
		return err
	})
	return f, err
}
