package server

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"google.golang.org/grpc/codes"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	rtcontainer "github.com/varve-cri/varve/runtime/container"
	rtplan "github.com/varve-cri/varve/runtime/plan"
	"github.com/varve-cri/varve/runtime/plan/compile"
	"github.com/varve-cri/varve/shim"
)

// killTime bounds the kill of an exec whose caller has gone or whose time is up.
const killTime = 10 * time.Second

// ExecSync runs a command in the container and returns what it printed, the
// first 16 MiB of each stream (CVE-2022-1708, CVE-2022-31030).
func (s *Server) ExecSync(ctx context.Context, req *runtimeapi.ExecSyncRequest) (*runtimeapi.ExecSyncResponse, error) {
	if len(req.GetCmd()) == 0 || req.GetCmd()[0] == "" {
		return nil, invalid("cmd", "is empty")
	}
	c, client, err := s.running(ctx, req.GetContainerId(), "run a command")
	if err != nil {
		return nil, err
	}
	if t := req.GetTimeout(); t > 0 {
		limit := seconds(t)
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, limit, fmt.Errorf("timeout %v exceeded: %w", limit, context.DeadlineExceeded))
		defer cancel()
	}
	resp, err := s.exec(ctx, c, client, req.GetCmd())
	if err != nil {
		return nil, fmt.Errorf("exec in container %s: %w", c.id, err)
	}
	return resp, nil
}

// running finds a container that runs, and its shim. One that is just being
// adopted is waited for.
func (s *Server) running(ctx context.Context, id, verb string) (*container, *shim.Client, error) {
	c, err := s.table.findContainer(id)
	if err != nil {
		return nil, nil, err
	}
	if c.client.Load() == nil {
		if c, err = s.lockContainer(ctx, id); err != nil {
			return nil, nil, err
		}
		c.lock.Release()
	}
	client := c.client.Load()
	if err := c.rec.Load().CheckRunning(verb); err != nil {
		return nil, nil, err
	}
	if client == nil {
		return nil, nil, coded(codes.FailedPrecondition, "container %s cannot %s: it has just exited", c.id, verb)
	}
	return c, client, nil
}

func (s *Server) exec(ctx context.Context, c *container, client *shim.Client, cmd []string) (*runtimeapi.ExecSyncResponse, error) {
	proc, err := s.execProcess(c, cmd)
	if err != nil {
		return nil, err
	}
	stdout, err := newOutput(s.conf().Exec.MaxOutputBytes)
	if err != nil {
		return nil, err
	}
	defer stdout.close()
	stderr, err := newOutput(s.conf().Exec.MaxOutputBytes)
	if err != nil {
		return nil, err
	}
	defer stderr.close()
	p, err := client.Exec(ctx, shim.ExecRequest{Process: proc, Stdout: stdout.w, Stderr: stderr.w})
	stdout.begin()
	stderr.begin()
	if err != nil {
		return execNotStarted(err)
	}
	code, err := p.Wait(ctx)
	if err != nil {
		// Also the end of the caller's interest: nothing of it may go on.
		kill, cancel := context.WithTimeout(context.WithoutCancel(ctx), killTime)
		defer cancel()
		if kerr := p.Kill(kill); kerr != nil && !errors.Is(kerr, shim.ErrNotFound) {
			err = errors.Join(err, fmt.Errorf("kill: %w", kerr))
		}
		if isContextError(err) {
			return nil, context.Cause(ctx)
		}
		return nil, err
	}
	// What the command left behind may hold its output open: read on for a
	// moment, not for ever (GHSA-7jxh-36q5-gcqv).
	deadline := time.Now().Add(s.conf().Exec.DrainTimeout.Std())
	return &runtimeapi.ExecSyncResponse{Stdout: stdout.rest(ctx, deadline), Stderr: stderr.rest(ctx, deadline), ExitCode: code}, nil
}

// execNotStarted answers for a command that could not be run: a fault of the
// command is the exit code that a shell would give it.
func execNotStarted(err error) (*runtimeapi.ExecSyncResponse, error) {
	var st *rtcontainer.StepError
	if errors.As(err, &st) && (errors.Is(err, rtcontainer.ErrNotFound) || errors.Is(err, rtcontainer.ErrNotExecutable)) {
		return nil, coded(codes.Unknown, "%w (exit code %d)", err, st.ExitCode())
	}
	return nil, err
}

// execProcess is the container's own process with another command.
func (s *Server) execProcess(c *container, cmd []string) (*rtplan.Process, error) {
	base := c.proc.Load()
	if base == nil {
		pr, err := s.planOf(c)
		if err != nil {
			return nil, err
		}
		if base, err = compile.Exec(pr.plan.Spec, pr.prog); err != nil {
			return nil, err
		}
		base.SeccompFlags = pr.flags
		c.proc.Store(base)
	}
	p := *base
	p.Args, p.Terminal, p.Rows, p.Cols = cmd, false, 0, 0
	return &p, nil
}

// output is one captured stream: a pipe whose write end goes to the process.
type output struct {
	r, w *os.File
	max  int64
	buf  []byte
	done chan struct{}
}

func newOutput(limit int64) (*output, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("pipe: %w", err)
	}
	return &output{r: r, w: w, max: limit, done: make(chan struct{})}, nil
}

// begin gives our copy of the write end up and starts to read.
func (o *output) begin() {
	_ = o.w.Close()
	o.w = nil
	go func() {
		defer close(o.done)
		chunk := make([]byte, 4096)
		for {
			n, err := o.r.Read(chunk)
			if room := o.max - int64(len(o.buf)); room > 0 {
				o.buf = append(o.buf, chunk[:min(int64(n), room)]...)
			}
			if err != nil {
				return
			}
			if n == len(chunk) && n < 64<<10 {
				chunk = make([]byte, 64<<10) // a talkative one
			}
		}
	}()
}

// rest returns all that was read once the stream has ended, or at the deadline.
func (o *output) rest(ctx context.Context, deadline time.Time) []byte {
	_ = o.r.SetReadDeadline(deadline)
	stop := context.AfterFunc(ctx, func() { _ = o.r.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	<-o.done
	return o.buf
}

func (o *output) close() {
	_ = o.r.Close()
	if o.w != nil {
		_ = o.w.Close()
	}
}
