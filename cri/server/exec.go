package server

import (
	"context"
	"fmt"

	"google.golang.org/grpc/codes"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/varve-cri/varve/cri/session"
	"github.com/varve-cri/varve/runtime/plan/compile"
	"github.com/varve-cri/varve/shim"
)

// ExecSync runs a command in the container and returns what it printed, the
// first 16 MiB of each stream (CVE-2022-1708, CVE-2022-31030).
func (s *Server) ExecSync(ctx context.Context, req *runtimeapi.ExecSyncRequest) (*runtimeapi.ExecSyncResponse, error) {
	if err := checkCommand(req.GetCmd()); err != nil {
		return nil, err
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
	cmd, err := s.command(c, client, req.GetCmd())
	if err != nil {
		return nil, inContainer(c, err)
	}
	got, err := cmd.Capture(ctx, s.conf().Exec.MaxOutputBytes)
	if err != nil {
		return nil, inContainer(c, err)
	}
	return &runtimeapi.ExecSyncResponse{Stdout: got.Stdout, Stderr: got.Stderr, ExitCode: got.Code}, nil
}

func inContainer(c *container, err error) error {
	return fmt.Errorf("exec in container %s: %w", c.id, err)
}

func checkCommand(cmd []string) error {
	if len(cmd) == 0 || cmd[0] == "" {
		return invalid("cmd", "is empty")
	}
	return nil
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

// command is the container's own process with another command line.
func (s *Server) command(c *container, client *shim.Client, argv []string) (*session.Command, error) {
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
	p.Args, p.Terminal, p.Rows, p.Cols = argv, false, 0, 0
	return &session.Command{Client: client, Process: &p, Drain: s.conf().Exec.DrainTimeout.Std()}, nil
}
