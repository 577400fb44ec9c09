package shim

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/varve-cri/varve/shim/proto"
)

// errNotSent says that the shim has not got the request.
var errNotSent = errors.New("request not sent")

// call sends one request and waits for the answer. The files of the answer
// are the caller's.
func (c *Client) call(ctx context.Context, v proto.Verb, body proto.Body, files ...int) (answer, error) {
	id, ch, err := c.begin()
	if err != nil {
		return answer{}, fmt.Errorf("%w: %w", errNotSent, err)
	}
	h := proto.Head{Kind: proto.Request, Verb: v, Files: uint16(len(files)), ID: id}
	if err := c.send(proto.Append(nil, h, body), files); err != nil {
		c.forget(id)
		return answer{}, fmt.Errorf("%w: %w", errNotSent, err)
	}
	select {
	case a := <-ch:
		return a, a.err
	case <-ctx.Done():
		if !c.forget(id) {
			a := <-ch // it is here in this moment
			return a, a.err
		}
		return answer{}, context.Cause(ctx)
	}
}

func (c *Client) begin() (uint32, chan answer, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.calls == nil {
		return 0, nil, c.whyLocked()
	}
	c.last++
	ch := make(chan answer, 1)
	c.calls[c.last] = ch
	return c.last, ch, nil
}

// forget drops a request whose answer nobody waits for; false says that the
// reader has taken it.
func (c *Client) forget(id uint32) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, there := c.calls[id]
	delete(c.calls, id)
	return there
}

// send waits while the shim is behind with reading; a shim that is gone is
// told by the reader.
func (c *Client) send(msg []byte, files []int) error {
	raw, err := c.conn.SyscallConn()
	if err != nil {
		return ErrClosed
	}
	var inner error
	err = raw.Write(func(fd uintptr) bool {
		inner = proto.Send(int(fd), msg, files...)
		return inner != unix.EAGAIN
	})
	if inner == unix.EPIPE || inner == unix.ECONNRESET || err != nil {
		<-c.done
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.whyLocked()
	}
	return inner
}

// ask is a call whose reply has no body that matters, or into one.
func (c *Client) ask(ctx context.Context, v proto.Verb, body, into proto.Body) error {
	a, err := c.call(ctx, v, body)
	proto.CloseAll(a.files)
	if err != nil || into == nil {
		return err
	}
	return proto.Decode(a.body, into)
}

// State is what a shim says of its container.
type State struct {
	ID        string
	ShimPID   int
	PID       int // of the container's first process, in the daemon's PID namespace
	StartedAt time.Time
	Exited    bool // the first process is gone, the record is about to be written
	Execs     int  // execs of which something still runs
	// LogErrors counts failed writes to the log file, LogLost the bytes of
	// output that were lost by them.
	LogErrors, LogLost uint64
}

// State asks for the container's state.
func (c *Client) State(ctx context.Context) (State, error) {
	var m proto.State
	if err := c.ask(ctx, proto.VerbState, nil, &m); err != nil {
		return State{}, fmt.Errorf("shim state: %w", err)
	}
	return State{
		ID: m.ID, ShimPID: int(m.ShimPID), PID: int(m.PID), StartedAt: time.Unix(0, m.StartedAt),
		Exited: m.Exited, Execs: int(m.Execs), LogErrors: m.LogErrors, LogLost: m.LogLost,
	}, nil
}

// Signal sends sig to the container's first process, by descriptor.
func (c *Client) Signal(ctx context.Context, sig unix.Signal) error {
	return c.ask(ctx, proto.VerbSignal, &proto.Signal{Number: uint32(sig)}, nil)
}

// SignalAll sends sig to every process in the container's cgroup, execs too.
func (c *Client) SignalAll(ctx context.Context, sig unix.Signal) error {
	return c.ask(ctx, proto.VerbSignal, &proto.Signal{Number: uint32(sig), All: true}, nil)
}

// ReopenLog opens the log path anew and goes on there. On an error no file was
// made and the old one stays in use.
func (c *Client) ReopenLog(ctx context.Context) error {
	return c.ask(ctx, proto.VerbReopenLog, nil, nil)
}

// Resize sets the size of the container's terminal.
func (c *Client) Resize(ctx context.Context, rows, cols uint16) error {
	return c.ask(ctx, proto.VerbResize, &proto.Resize{Rows: rows, Cols: cols}, nil)
}

// CloseStdin ends the container's standard input.
func (c *Client) CloseStdin(ctx context.Context) error {
	return c.ask(ctx, proto.VerbCloseStdin, nil, nil)
}

// Shutdown kills everything in the container and waits until the exit is
// known: Exit then has it.
func (c *Client) Shutdown(ctx context.Context) error {
	if err := c.ask(ctx, proto.VerbShutdown, nil, nil); err != nil {
		if _, known := c.Exit(); known {
			return nil
		}
		return err
	}
	select {
	case <-c.Done():
		return c.Err()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// descriptors lends the numbers of files for one call of do. nil files are left
// out.
func descriptors(files []*os.File, do func(fds []int) error) error {
	fds := make([]int, 0, len(files))
	var next func(i int) error
	next = func(i int) error {
		if i == len(files) {
			return do(fds)
		}
		if files[i] == nil {
			return next(i + 1)
		}
		return control(files[i], func(fd int) error {
			fds = append(fds, fd)
			return next(i + 1)
		})
	}
	return next(0)
}

// memfd makes a file of b that a shim can read.
func memfd(name string, b []byte) (*os.File, error) {
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("memfd %s: %w", name, err)
	}
	f := os.NewFile(uintptr(fd), name)
	if _, err := f.Write(b); err != nil {
		f.Close()
		return nil, fmt.Errorf("memfd %s: %w", name, err)
	}
	return f, nil
}
