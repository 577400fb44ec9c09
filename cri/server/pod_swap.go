package server

import (
	"context"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/varve-cri/varve/cri/plan"
	"github.com/varve-cri/varve/cri/record"
	"github.com/varve-cri/varve/cri/resource"
	"github.com/varve-cri/varve/runtime/cgroup"
)

// swapOf is the swap that the pod's containers were given together, those that
// have ended left out; of c it is what next says, when there is a c.
func swapOf(p *pod, c *container, next *runtimeapi.LinuxContainerResources) int64 {
	var total int64
	for _, one := range p.list() {
		rec := one.rec.Load()
		switch {
		case one == c:
			total = resource.AddSwap(total, resource.Swap(next))
		case rec.State != record.Exited && rec.State != record.Removing:
			total = resource.AddSwap(total, resource.Swap(rec.Resources))
		}
	}
	return total
}

// fitSwap gives the pod's own cgroup the swap that its containers have been given.
// A limit of the pod's memory allows none by itself, so that a container without
// limits does not swap without end; it must not take away what another one was
// given, nor can RunPodSandbox know of that. The parameters are as in swapOf.
func (s *Server) fitSwap(ctx context.Context, p *pod, c *container, next *runtimeapi.LinuxContainerResources) error {
	if !p.rec.Load().OwnCgroup {
		return nil // the kubelet's pods are the kubelet's
	}
	if err := p.sums.Acquire(ctx); err != nil {
		return s.blocked("limits of pod "+p.id, err, p.id)
	}
	defer p.sums.Release()
	rec := p.rec.Load()
	have := rec.CurrentLimits()
	if have.Resources.GetMemoryLimitInBytes() <= 0 || have.Resources.GetMemorySwapLimitInBytes() != 0 {
		return nil // nothing to fit, or said for the pod itself
	}
	limits, err := plan.PodResources("", have.Resources, have.Overhead, swapOf(p, c, next), s.facts())
	if err != nil || limits.Memory == nil || limits.Memory.Swap == nil {
		return err
	}
	return cgroup.Open(rec.CgroupParent).Set(&specs.LinuxResources{Memory: limits.Memory})
}

// lessSwap takes back what the pod was allowed for a container that had had the
// limits. Where the kernel refuses, because it is in use, the next change does it.
func (s *Server) lessSwap(ctx context.Context, c *container, had *runtimeapi.LinuxContainerResources) {
	if resource.Swap(had) == 0 || c.pod.rec.Load().State != record.PodReady {
		return
	}
	if err := s.fitSwap(ctx, c.pod, nil, nil); err != nil {
		c.log(ctx).V(2).Info("Swap of the pod is not reduced yet", "err", err)
	}
}
