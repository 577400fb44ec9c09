package server

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/varve-cri/varve/cri/page"
	"github.com/varve-cri/varve/cri/plan"
	"github.com/varve-cri/varve/cri/record"
	"github.com/varve-cri/varve/cri/stats"
)

// maxReaders is how many goroutines read the statistics of a list.
const maxReaders = 4

// gather makes a list of the statistics of another. Reading a container's
// small files is processor time of the kernel's, so that it is shared out.
func gather[T, S any](list []T, read func(T) S) []S {
	out := make([]S, len(list))
	var next atomic.Int64
	work := func() {
		for i := int(next.Add(1)) - 1; i < len(list); i = int(next.Add(1)) - 1 {
			out[i] = read(list[i])
		}
	}
	var wg sync.WaitGroup
	for range min(maxReaders, runtime.GOMAXPROCS(0), len(list)) - 1 {
		wg.Go(work)
	}
	work()
	wg.Wait()
	return out
}

// ContainerStats is the use of one container.
func (s *Server) ContainerStats(_ context.Context, req *runtimeapi.ContainerStatsRequest) (*runtimeapi.ContainerStatsResponse, error) {
	c, err := s.table.findContainer(req.GetContainerId())
	if err != nil {
		return nil, err
	}
	return &runtimeapi.ContainerStatsResponse{Stats: s.stats.Container(c.rec.Load(), &c.layer, time.Now().Add(stats.FirstMeasure))}, nil
}

func (s *Server) statsOf(f *runtimeapi.ContainerStatsFilter) []*container {
	return s.matchingContainers(f.GetId(), f.GetPodSandboxId(), func(r *record.Container) bool { return plan.MatchContainerStats(f, r) })
}

// readStats makes a reader of statistics that waits for new layers' sizes
// until one moment, however often it is called.
func (s *Server) readStats() func([]*container) []*runtimeapi.ContainerStats {
	deadline := time.Now().Add(stats.FirstMeasure)
	return func(list []*container) []*runtimeapi.ContainerStats {
		return gather(list, func(c *container) *runtimeapi.ContainerStats {
			return s.stats.Container(c.rec.Load(), &c.layer, deadline)
		})
	}
}

// ListContainerStats is the use of the containers that pass the filter.
func (s *Server) ListContainerStats(_ context.Context, req *runtimeapi.ListContainerStatsRequest) (*runtimeapi.ListContainerStatsResponse, error) {
	return &runtimeapi.ListContainerStatsResponse{Stats: s.readStats()(s.statsOf(req.GetFilter()))}, nil
}

// StreamContainerStats is ListContainerStats in pieces.
func (s *Server) StreamContainerStats(req *runtimeapi.StreamContainerStatsRequest, out runtimeapi.RuntimeService_StreamContainerStatsServer) error {
	return page.Send(s.statsOf(req.GetFilter()), s.readStats(), func(part []*runtimeapi.ContainerStats) error {
		return out.Send(&runtimeapi.StreamContainerStatsResponse{ContainerStats: part})
	})
}

func (s *Server) podStats(p *pod, deadline time.Time) *runtimeapi.PodSandboxStats {
	r := p.rec.Load()
	pid := r.PausePID
	var containers []*runtimeapi.ContainerStats
	for _, c := range p.list() {
		cr := c.rec.Load()
		containers = append(containers, s.stats.Container(cr, &c.layer, deadline))
		if cr.State == record.Running {
			pid = cr.PID
		}
	}
	return s.stats.Pod(r, pid, containers)
}

// PodSandboxStats is the use of one pod.
func (s *Server) PodSandboxStats(_ context.Context, req *runtimeapi.PodSandboxStatsRequest) (*runtimeapi.PodSandboxStatsResponse, error) {
	p, err := s.table.findPod(req.GetPodSandboxId())
	if err != nil {
		return nil, err
	}
	return &runtimeapi.PodSandboxStatsResponse{Stats: s.podStats(p, time.Now().Add(stats.FirstMeasure))}, nil
}

func (s *Server) podStatsOf(f *runtimeapi.PodSandboxStatsFilter) []*pod {
	return s.matchingPods(f.GetId(), func(r *record.Pod) bool { return plan.MatchPodStats(f, r) })
}

// readPodStats is readStats for pods.
func (s *Server) readPodStats() func([]*pod) []*runtimeapi.PodSandboxStats {
	deadline := time.Now().Add(stats.FirstMeasure)
	return func(list []*pod) []*runtimeapi.PodSandboxStats {
		return gather(list, func(p *pod) *runtimeapi.PodSandboxStats { return s.podStats(p, deadline) })
	}
}

// ListPodSandboxStats is the use of the pods that pass the filter.
func (s *Server) ListPodSandboxStats(_ context.Context, req *runtimeapi.ListPodSandboxStatsRequest) (*runtimeapi.ListPodSandboxStatsResponse, error) {
	return &runtimeapi.ListPodSandboxStatsResponse{Stats: s.readPodStats()(s.podStatsOf(req.GetFilter()))}, nil
}

// StreamPodSandboxStats is ListPodSandboxStats in pieces.
func (s *Server) StreamPodSandboxStats(req *runtimeapi.StreamPodSandboxStatsRequest, out runtimeapi.RuntimeService_StreamPodSandboxStatsServer) error {
	return page.Send(s.podStatsOf(req.GetFilter()), s.readPodStats(), func(part []*runtimeapi.PodSandboxStats) error {
		return out.Send(&runtimeapi.StreamPodSandboxStatsResponse{PodSandboxStats: part})
	})
}
