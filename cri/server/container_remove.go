package server

import (
	"context"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/varve-cri/varve/cri/record"
	"github.com/varve-cri/varve/cri/step"
	"github.com/varve-cri/varve/runtime/cgroup"
)

// removeContainer removes the container; the caller holds its lock.
func (s *Server) removeContainer(ctx context.Context, c *container) error {
	rec := c.rec.Load()
	err := s.steps.Run(ctx, c.op("RemoveContainer"), []step.Step{
		{Name: "kill", Do: func(ctx context.Context) error { return s.kill(ctx, c) }},
		{Name: "mark", Do: func(context.Context) error {
			return s.changeContainer(c, onlyShow, func(r *record.Container) error { return r.MarkRemoving() })
		}},
		{Name: "cgroup", Do: func(ctx context.Context) error { return s.tidy(ctx, c) }},
		{Name: "layer", Do: func(context.Context) error { return s.images.RemoveRW(c.id) }},
		{Name: "record", Do: func(context.Context) error { return s.forgetContainer(c) }},
	})
	if err != nil {
		return err
	}
	s.table.dropContainer(c)
	s.lessSwap(ctx, c, rec.Resources)
	s.gone(runtimeapi.ContainerEventType_CONTAINER_DELETED_EVENT, c.id, c.pod, rec.Config)
	return nil
}

// tidy waits until the exit's own cleaning is done, and removes the cgroup
// when that could not.
func (s *Server) tidy(ctx context.Context, c *container) error {
	rec := c.rec.Load()
	if rec.StartedAt == 0 && rec.EndedAt == 0 {
		return c.dropGroup(rec.Cgroup) // never started
	}
	select {
	case <-c.tidied.ch:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	group := cgroup.Open(rec.Cgroup)
	if !group.Exists() {
		return nil
	}
	if err := group.Kill(); err != nil {
		return err
	}
	return group.Remove()
}
