package shim

import (
	"context"
	"errors"
	"os"

	"golang.org/x/sys/unix"

	"github.com/varve-cri/varve/runtime/plan"
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
	// descriptors.
	Stdin, Stdout, Stderr *os.File
}

// ExecProcess is a process that Exec started.
type ExecProcess struct {
	ID  string
	PID int
	// Console is the master side of the terminal, the caller's to close; nil
	// without one. Resize with TIOCSWINSZ on it.
	Console *os.File
}

// Exec starts a process in the container. A process that could not be made
// returns a *container.StepError. If ctx ends before the shim's answer, the exec
// is killed.
func (c *Client) Exec(ctx context.Context, r ExecRequest) (*ExecProcess, error) {
	return nil, errors.ErrUnsupported
}

// Wait waits for the process's exit and returns its code (128 + signal when a
// signal killed it). Children that it left behind may still run and hold its
// files open.
func (p *ExecProcess) Wait(ctx context.Context) (int32, error) { return 0, errors.ErrUnsupported }

// Done is closed when the process has exited or the shim is gone.
func (p *ExecProcess) Done() <-chan struct{} { return nil }

// Kill kills the process and everything that it started, also what has
// daemonised, and also when the process itself has exited already.
func (p *ExecProcess) Kill(ctx context.Context) error { return errors.ErrUnsupported }

// Signal sends sig to the process.
func (p *ExecProcess) Signal(ctx context.Context, sig unix.Signal) error {
	return errors.ErrUnsupported
}
