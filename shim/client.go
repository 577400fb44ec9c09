package shim

import (
	"context"
	"errors"
	"time"

	"golang.org/x/sys/unix"
)

// Client is one connection to one shim. Its methods may be called from many
// goroutines at once; each takes a context that bounds the wait for the shim's
// answer.
type Client struct{ done chan struct{} }

// State is what a shim says of its container.
type State struct {
	ShimPID   int
	PID       int // of the container's first process, in the daemon's PID namespace
	StartedAt time.Time
	Exited    bool // the first process is gone, the record is about to be written
	Execs     int  // execs that run
	// LogErrors counts failed writes to the log file, LogLost the bytes of
	// output that were lost by them.
	LogErrors, LogLost uint64
}

// Dial connects to the shim that holds dir, for example after a restart of
// the daemon. The error is ErrGone when no shim does; ReadExit then tells
// whether the container has exited or its shim was killed.
func Dial(ctx context.Context, dir string) (*Client, error) { return nil, errors.ErrUnsupported }

// Close gives the connection up. The container and its shim go on; execs that
// this client started are killed. Done is closed, and Err is ErrClosed.
func (c *Client) Close() error { return nil }

// Done is closed when the container's exit is known or will never be: Exit
// and Err then say which.
func (c *Client) Done() <-chan struct{} { return c.done }

// Exit is the container's exit; false while it runs and when it is unknown.
func (c *Client) Exit() (Exit, bool) { return Exit{}, false }

// Err is nil until Done is closed and after an exit that is known. ErrGone
// says that the shim died without a record: kill the container's cgroup.
func (c *Client) Err() error { return nil }

// State asks for the container's state.
func (c *Client) State(ctx context.Context) (State, error) { return State{}, errors.ErrUnsupported }

// Signal sends sig to the container's first process, by descriptor.
func (c *Client) Signal(ctx context.Context, sig unix.Signal) error { return errors.ErrUnsupported }

// SignalAll sends sig to every process in the container's cgroup, execs too.
func (c *Client) SignalAll(ctx context.Context, sig unix.Signal) error { return errors.ErrUnsupported }

// ReopenLog opens the log path anew and goes on there. On an error no file was
// made and the old one stays in use.
func (c *Client) ReopenLog(ctx context.Context) error { return errors.ErrUnsupported }

// Resize sets the size of the container's terminal.
func (c *Client) Resize(ctx context.Context, rows, cols uint16) error { return errors.ErrUnsupported }

// CloseStdin ends the container's standard input.
func (c *Client) CloseStdin(ctx context.Context) error { return errors.ErrUnsupported }

// Shutdown kills everything in the container and waits until the exit is
// known: Exit then has it.
func (c *Client) Shutdown(ctx context.Context) error { return errors.ErrUnsupported }
