package session

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	rtcontainer "github.com/varve-cri/varve/runtime/container"
	"github.com/varve-cri/varve/runtime/plan"
	"github.com/varve-cri/varve/shim"
)

// killTime bounds the kill of a command whose caller has gone or whose time is up.
const killTime = 10 * time.Second

// Command is a command to run in a container.
type Command struct {
	Client  *shim.Client
	Process *plan.Process
	Drain   time.Duration // how long its output is read after its end
}

// kill ends a command that nobody wants any more, with all that it started. The
// error is why: that of the wait, and of the kill if that failed as well.
func kill(ctx context.Context, p *shim.ExecProcess, why error) error {
	bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), killTime)
	defer cancel()
	if err := p.Kill(bounded); err != nil {
		why = errors.Join(why, fmt.Errorf("kill: %w", err))
	}
	return why
}

// codedError is an error with a gRPC code.
type codedError struct {
	error
	code codes.Code
}

func (e *codedError) Unwrap() error { return e.error }

// GRPCStatus says the code to who asks for it.
func (e *codedError) GRPCStatus() *status.Status { return status.New(e.code, e.Error()) }

// notStarted is the error for a command that could not be run: where that is
// the command's fault, it names the exit code that a shell would give it.
func notStarted(err error) error {
	var st *rtcontainer.StepError
	if errors.As(err, &st) && (errors.Is(err, rtcontainer.ErrNotFound) || errors.Is(err, rtcontainer.ErrNotExecutable)) {
		return &codedError{fmt.Errorf("%w (exit code %d)", err, st.ExitCode()), codes.Unknown}
	}
	return err
}
