package server

import (
	"context"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/varve-cri/varve/cri/plan"
	"github.com/varve-cri/varve/cri/record"
	"github.com/varve-cri/varve/cri/stats"
	"github.com/varve-cri/varve/runtime/cgroup"
)

// usageAge is how old the size of a read-write layer may be before it is
// measured again, in the background.
const usageAge = 10 * time.Second

// firstUsage is how long a request waits for the first measurement of a
// layer, so that the first answer is a true one wherever the layer is small.
const firstUsage = 100 * time.Millisecond

// usageCache is the size of a container's read-write layer as last measured.
type usageCache struct {
	last atomic.Pointer[runtimeapi.FilesystemUsage]
	busy atomic.Bool
}

// layerUsage returns what is known and has it measured when that is old. Only
// the first measurement of a layer is waited for, and not after the deadline.
func (s *Server) layerUsage(c *container, deadline time.Time) *runtimeapi.FilesystemUsage {
	u := c.usage.last.Load()
	if u != nil && time.Since(time.Unix(0, u.GetTimestamp())) < usageAge {
		return u
	}
	done := make(chan struct{})
	if c.usage.busy.CompareAndSwap(false, true) {
		go s.measure(c, done)
	}
	if u != nil {
		return u
	}
	select {
	case <-done:
	case <-time.After(time.Until(deadline)):
	}
	if u := c.usage.last.Load(); u != nil {
		return u
	}
	return s.fsUsage(0, 0)
}

func (s *Server) measure(c *container, done chan struct{}) {
	defer close(done)
	defer c.usage.busy.Store(false)
	s.walks <- struct{}{} // one at a time: the disk serves the containers first
	defer func() { <-s.walks }()
	bytes, inodes, err := s.images.UsageRW(c.id)
	if err != nil {
		return // the container is being removed, or the next request tries again
	}
	c.usage.last.Store(s.fsUsage(bytes, inodes))
}

func (s *Server) fsUsage(bytes, inodes uint64) *runtimeapi.FilesystemUsage {
	return &runtimeapi.FilesystemUsage{
		Timestamp: time.Now().UnixNano(), FsId: &runtimeapi.FilesystemIdentifier{Mountpoint: s.cfg.RootDir},
		UsedBytes: &runtimeapi.UInt64Value{Value: bytes}, InodesUsed: &runtimeapi.UInt64Value{Value: inodes},
	}
}

// containerStats is the use of one container. One that does not run has a
// layer and nothing else.
func (s *Server) containerStats(c *container, deadline time.Time) *runtimeapi.ContainerStats {
	r := c.rec.Load()
	out := &runtimeapi.ContainerStats{
		Attributes: &runtimeapi.ContainerAttributes{
			Id: c.id, Metadata: r.Config.GetMetadata(), Labels: r.Config.GetLabels(), Annotations: r.Config.GetAnnotations(),
		},
		WritableLayer: s.layerUsage(c, deadline),
	}
	if r.State != record.Running {
		return out
	}
	st, err := cgroup.Open(r.Cgroup).Stats()
	if err != nil {
		return out // it has just exited
	}
	out.Cpu, out.Memory, out.Swap, out.Io = stats.CPU(st), stats.Memory(st), stats.Swap(st), stats.IO(st)
	return out
}

// ContainerStats is the use of one container.
func (s *Server) ContainerStats(_ context.Context, req *runtimeapi.ContainerStatsRequest) (*runtimeapi.ContainerStatsResponse, error) {
	c, err := s.table.findContainer(req.GetContainerId())
	if err != nil {
		return nil, err
	}
	return &runtimeapi.ContainerStatsResponse{Stats: s.containerStats(c, time.Now().Add(firstUsage))}, nil
}

func (s *Server) statsItems(f *runtimeapi.ContainerStatsFilter) []*runtimeapi.ContainerStats {
	list := s.matchingContainers(f.GetId(), f.GetPodSandboxId(), func(r *record.Container) bool { return plan.MatchContainerStats(f, r) })
	items := make([]*runtimeapi.ContainerStats, 0, len(list))
	deadline := time.Now().Add(firstUsage)
	for _, c := range list {
		items = append(items, s.containerStats(c, deadline))
	}
	return items
}

// ListContainerStats is the use of the containers that pass the filter.
func (s *Server) ListContainerStats(_ context.Context, req *runtimeapi.ListContainerStatsRequest) (*runtimeapi.ListContainerStatsResponse, error) {
	return &runtimeapi.ListContainerStatsResponse{Stats: s.statsItems(req.GetFilter())}, nil
}

// StreamContainerStats is ListContainerStats in pieces.
func (s *Server) StreamContainerStats(req *runtimeapi.StreamContainerStatsRequest, out runtimeapi.RuntimeService_StreamContainerStatsServer) error {
	return chunks(s.statsItems(req.GetFilter()), func(part []*runtimeapi.ContainerStats) error {
		return out.Send(&runtimeapi.StreamContainerStatsResponse{ContainerStats: part})
	})
}

// podStats is the use of one pod: of its cgroup where it has one of its own,
// of its network, and of its containers.
func (s *Server) podStats(p *pod, deadline time.Time) *runtimeapi.PodSandboxStats {
	r := p.rec.Load()
	linux := &runtimeapi.LinuxPodSandboxStats{}
	out := &runtimeapi.PodSandboxStats{
		Attributes: &runtimeapi.PodSandboxAttributes{
			Id: p.id, Metadata: r.Config.GetMetadata(), Labels: r.Config.GetLabels(), Annotations: r.Config.GetAnnotations(),
		},
		Linux: linux,
	}
	pid := r.PausePID
	for _, c := range p.list() {
		linux.Containers = append(linux.Containers, s.containerStats(c, deadline))
		if cr := c.rec.Load(); cr.State == record.Running {
			pid = cr.PID
		}
	}
	if st, err := cgroup.Open(r.CgroupParent).Stats(); err == nil {
		linux.Cpu, linux.Memory, linux.Io, linux.Process = stats.CPU(st), stats.Memory(st), stats.IO(st), stats.Processes(st)
	}
	if pid != 0 && r.Pins.Net {
		if dev, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/dev", pid)); err == nil {
			linux.Network = stats.Network(string(dev), time.Now())
		}
	}
	return out
}

// PodSandboxStats is the use of one pod.
func (s *Server) PodSandboxStats(_ context.Context, req *runtimeapi.PodSandboxStatsRequest) (*runtimeapi.PodSandboxStatsResponse, error) {
	p, err := s.table.findPod(req.GetPodSandboxId())
	if err != nil {
		return nil, err
	}
	return &runtimeapi.PodSandboxStatsResponse{Stats: s.podStats(p, time.Now().Add(firstUsage))}, nil
}

func (s *Server) podStatsItems(f *runtimeapi.PodSandboxStatsFilter) []*runtimeapi.PodSandboxStats {
	list := s.matchingPods(f.GetId(), func(r *record.Pod) bool { return plan.MatchPodStats(f, r) })
	items := make([]*runtimeapi.PodSandboxStats, 0, len(list))
	deadline := time.Now().Add(firstUsage)
	for _, p := range list {
		items = append(items, s.podStats(p, deadline))
	}
	return items
}

// ListPodSandboxStats is the use of the pods that pass the filter.
func (s *Server) ListPodSandboxStats(_ context.Context, req *runtimeapi.ListPodSandboxStatsRequest) (*runtimeapi.ListPodSandboxStatsResponse, error) {
	return &runtimeapi.ListPodSandboxStatsResponse{Stats: s.podStatsItems(req.GetFilter())}, nil
}

// StreamPodSandboxStats is ListPodSandboxStats in pieces.
func (s *Server) StreamPodSandboxStats(req *runtimeapi.StreamPodSandboxStatsRequest, out runtimeapi.RuntimeService_StreamPodSandboxStatsServer) error {
	return chunks(s.podStatsItems(req.GetFilter()), func(part []*runtimeapi.PodSandboxStats) error {
		return out.Send(&runtimeapi.StreamPodSandboxStatsResponse{PodSandboxStats: part})
	})
}
