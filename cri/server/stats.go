package server

import (
	"context"
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/varve-cri/varve/cri/metric"
	"github.com/varve-cri/varve/cri/page"
	"github.com/varve-cri/varve/cri/record"
	"github.com/varve-cri/varve/cri/stats"
	"github.com/varve-cri/varve/cri/view"
)

func (c *container) measured() stats.Container {
	return stats.Container{Record: c.rec.Load(), Gauge: &c.gauge}
}

func (s *Server) measured(p *pod) stats.Pod {
	m := stats.Pod{Record: p.rec.Load(), Gauge: &p.gauge}
	if m.Record.Pins.Net && m.Record.State == record.PodReady {
		m.Net = s.records.PodDir(p.id) + "/ns/net"
	}
	for _, c := range p.list() {
		m.Containers = append(m.Containers, c.measured())
	}
	return m
}

// reading makes a reader of lists, some items at a time, that waits for slow measurements
// until one moment, however often it is called.
func reading[T, M, S any](measured func(T) M, read func([]M, time.Time) []S) func([]T) []S {
	deadline := stats.Deadline()
	return func(list []T) []S {
		all := make([]M, len(list))
		for i, v := range list {
			all[i] = measured(v)
		}
		return read(all, deadline)
	}
}

func (s *Server) readStats() func([]*container) []*runtimeapi.ContainerStats {
	return reading((*container).measured, s.stats.Containers)
}

func (s *Server) readPodStats() func([]*pod) []*runtimeapi.PodSandboxStats {
	return reading(s.measured, s.stats.Pods)
}

func (s *Server) readPodMetrics() func([]*pod) []*runtimeapi.PodSandboxMetrics {
	return reading(s.measured, func(list []stats.Pod, deadline time.Time) []*runtimeapi.PodSandboxMetrics {
		return metric.Pods(s.stats, list, deadline)
	})
}

func (s *Server) statsOf(f *runtimeapi.ContainerStatsFilter) []*container {
	return s.matchingContainers(f.GetId(), f.GetPodSandboxId(), func(r *record.Container) bool { return view.MatchContainerStats(f, r) })
}

func (s *Server) podStatsOf(f *runtimeapi.PodSandboxStatsFilter) []*pod {
	return s.matchingPods(f.GetId(), func(r *record.Pod) bool { return view.MatchPodStats(f, r) })
}

// readyPods are those that have metrics.
func (s *Server) readyPods() []*pod {
	return s.matchingPods("", func(r *record.Pod) bool { return r.State == record.PodReady })
}

// ContainerStats is the use of one container.
func (s *Server) ContainerStats(_ context.Context, req *runtimeapi.ContainerStatsRequest) (*runtimeapi.ContainerStatsResponse, error) {
	c, err := s.table.findContainer(req.GetContainerId())
	if err != nil {
		return nil, err
	}
	return &runtimeapi.ContainerStatsResponse{Stats: s.readStats()([]*container{c})[0]}, nil
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

// PodSandboxStats is the use of one pod.
func (s *Server) PodSandboxStats(_ context.Context, req *runtimeapi.PodSandboxStatsRequest) (*runtimeapi.PodSandboxStatsResponse, error) {
	p, err := s.table.findPod(req.GetPodSandboxId())
	if err != nil {
		return nil, err
	}
	return &runtimeapi.PodSandboxStatsResponse{Stats: s.readPodStats()([]*pod{p})[0]}, nil
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

// ListMetricDescriptors says which metrics there are.
func (s *Server) ListMetricDescriptors(context.Context, *runtimeapi.ListMetricDescriptorsRequest) (*runtimeapi.ListMetricDescriptorsResponse, error) {
	return &runtimeapi.ListMetricDescriptorsResponse{Descriptors: metric.Descriptors()}, nil
}

// ListPodSandboxMetrics are the metrics of the pods that are ready, and of their containers.
func (s *Server) ListPodSandboxMetrics(context.Context, *runtimeapi.ListPodSandboxMetricsRequest) (*runtimeapi.ListPodSandboxMetricsResponse, error) {
	return &runtimeapi.ListPodSandboxMetricsResponse{PodMetrics: s.readPodMetrics()(s.readyPods())}, nil
}

// StreamPodSandboxMetrics is ListPodSandboxMetrics in pieces.
func (s *Server) StreamPodSandboxMetrics(_ *runtimeapi.StreamPodSandboxMetricsRequest, out runtimeapi.RuntimeService_StreamPodSandboxMetricsServer) error {
	return page.Send(s.readyPods(), s.readPodMetrics(), func(part []*runtimeapi.PodSandboxMetrics) error {
		return out.Send(&runtimeapi.StreamPodSandboxMetricsResponse{PodSandboxMetrics: part})
	})
}
