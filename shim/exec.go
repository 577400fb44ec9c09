package shim

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/varve-cri/varve/runtime/plan"
	"github.com/varve-cri/varve/shim/proto"
)

// ExecRequest is one more process in a running container.
type ExecRequest struct {
	// ID names the exec and its cgroup: letters, digits, '-' and '_', at most
	// 64. Empty takes a random one.
	ID string
	// Process is the compiled process; when its Terminal is set the three
	// files below are not used and ExecProcess.Console is the terminal.
	Process *plan.Process
	// Stdin, Stdout and Stderr are passed to the process as they are: no copying
	// in between. nil is /dev/null. The caller keeps and closes its own
	// descriptors; the shim makes the files blocking.
	Stdin, Stdout, Stderr *os.File
}

// ExecProcess is a process that Exec started.
type ExecProcess struct {
	ID  string
	PID int
	// Console is the master side of the terminal, the caller's to close; nil
	// without one. Resize with TIOCSWINSZ on it.
	Console *os.File

	c    *Client
	done chan struct{}
	once sync.Once
	code int32
	err  error
}

// Exec starts a process in the container. A process that could not be made
// returns a *container.StepError. If ctx ends before the shim's answer, the exec
// is killed.
func (c *Client) Exec(ctx context.Context, r ExecRequest) (*ExecProcess, error) {
	p := &ExecProcess{ID: r.ID, c: c, done: make(chan struct{})}
	if p.ID == "" {
		p.ID = randomID()
	}
	files := []*os.File{r.Stdin, r.Stdout, r.Stderr}
	if r.Process.Terminal {
		files = []*os.File{nil, nil, nil}
	}
	m := &proto.Exec{ID: []byte(p.ID), In: files[0] != nil, Out: files[1] != nil, Err: files[2] != nil, Process: r.Process.Encode()}
	if len(m.Process) > proto.MaxInline {
		f, err := memfd("process", m.Process)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		m.Process, files = nil, append(files, f)
	}
	if err := c.expect(p); err != nil {
		return nil, err
	}
	err := descriptors(files, func(fds []int) error { return p.start(ctx, m, fds) })
	if err != nil {
		c.unexpect(p)
		return nil, err
	}
	return p, nil
}

func randomID() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails since Go 1.24
	return hex.EncodeToString(b[:])
}

// expect makes the reader know the exec before the shim can tell of it.
func (c *Client) expect(p *ExecProcess) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.execs == nil {
		return c.whyLocked()
	}
	if c.execs[p.ID] != nil {
		return fmt.Errorf("%w: exec id %s is in use", ErrInvalid, p.ID)
	}
	c.execs[p.ID] = p
	return nil
}

func (c *Client) unexpect(p *ExecProcess) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.execs[p.ID] == p {
		delete(c.execs, p.ID)
	}
}

// killTime bounds the wait for the end of an exec that nobody wants.
const killTime = 2 * time.Second

func (p *ExecProcess) start(ctx context.Context, m *proto.Exec, fds []int) error {
	select {
	case p.c.slots <- struct{}{}:
		defer func() { <-p.c.slots }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	a, err := p.c.call(ctx, proto.VerbExec, m, fds...)
	if err != nil {
		if ctx.Err() != nil {
			late, cancel := context.WithTimeout(context.WithoutCancel(ctx), killTime)
			defer cancel()
			_ = p.Kill(late)
		}
		return err
	}
	if len(a.files) > 0 {
		_ = unix.SetNonblock(a.files[0], true) // for Go's poller: no read of it holds a thread, and Close ends it
		p.Console = os.NewFile(uintptr(a.files[0]), "terminal")
		proto.CloseAll(a.files[1:])
	}
	var s proto.ExecStarted
	err = proto.Decode(a.body, &s)
	p.PID = int(s.PID)
	return err
}

// finish makes the exit known. It does nothing for an exec that nobody
// expects.
func (p *ExecProcess) finish(code int32, err error) {
	if p == nil {
		return
	}
	p.once.Do(func() {
		p.code, p.err = code, err
		close(p.done)
	})
}

// Wait waits for the process's exit and returns its code (128 + signal when a
// signal killed it). Children that it left behind may still run and hold its
// files open.
func (p *ExecProcess) Wait(ctx context.Context) (int32, error) {
	select {
	case <-p.done:
		return p.code, p.err
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	}
}

// Done is closed when the process has exited or the shim is gone.
func (p *ExecProcess) Done() <-chan struct{} { return p.done }

// Kill kills the process and everything that it started, also what has
// daemonised, and also when the process itself has exited already.
func (p *ExecProcess) Kill(ctx context.Context) error {
	err := p.c.ask(ctx, proto.VerbKill, &proto.Kill{Exec: p.ID}, nil)
	if errors.Is(err, ErrNotFound) || errors.Is(err, ErrExited) {
		return nil
	}
	return err
}

// Signal sends sig to the process.
func (p *ExecProcess) Signal(ctx context.Context, sig unix.Signal) error {
	return p.c.ask(ctx, proto.VerbSignal, &proto.Signal{Exec: p.ID, Number: uint32(sig)}, nil)
}
