package server

import (
	"net/http"
	"strings"

	"google.golang.org/grpc"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/klog/v2"

	"github.com/varve-cri/varve/cri/leak"
	"github.com/varve-cri/varve/cri/metrics"
	"github.com/varve-cri/varve/cri/request"
	"github.com/varve-cri/varve/cri/rpc"
	"github.com/varve-cri/varve/cri/step"
)

// Operations are those that run now, newest first.
func (s *Server) Operations() []step.Live { return s.steps.Live() }

// Metrics is for Prometheus.
func (s *Server) Metrics() http.Handler { return s.metrics }

// Options are what the gRPC server needs for its requests to be counted, logged
// and answered with the right codes.
func (s *Server) Options() []grpc.ServerOption {
	return (&rpc.Interceptor{Calls: s.calls, Check: request.Check, Status: toStatus, Objects: s.objects}).Options()
}

// observe makes what looks at the server from outside of requests.
func (s *Server) observe() {
	s.calls = metrics.NewCalls(&runtimeapi.RuntimeService_ServiceDesc, &runtimeapi.ImageService_ServiceDesc)
	s.leaks = leak.New(leak.Owners{StateDir: s.cfg.StateDir, Known: s.knows, Groups: s.groups, Layers: s.layers})
	s.metrics = metrics.New(metrics.Sources{
		Version: s.version, Calls: s.calls, Steps: &s.steps, Images: s.images, Node: s.node, Leaks: s.leaks.Counts,
	})
}

// node counts what there is.
func (s *Server) node() metrics.Node {
	n := metrics.Node{
		Pods: map[string]int{}, Containers: map[string]int{},
		Spares: map[string]int{"shim": s.launcher.Waiting(), "network_namespace": s.spaces.Waiting()},
	}
	s.table.eachPod(func(p *pod) {
		n.Pods[strings.ToLower(string(p.rec.Load().State))]++
		if p.pause.Load() != nil {
			n.Shims++
		}
	})
	s.table.eachContainer(func(c *container) {
		n.Containers[strings.ToLower(string(c.rec.Load().State))]++
		if c.client.Load() != nil {
			n.Shims++
		}
	})
	if owed, err := s.net.Owed(); err == nil {
		for _, id := range owed {
			if _, ok := s.table.pods.Load(id); !ok {
				n.Owed++
			}
		}
	}
	return n
}

// knows says whether there is a pod or container with the id, or an operation
// that makes or removes one.
func (s *Server) knows(id string) bool {
	if _, ok := s.table.pods.Load(id); ok {
		return true
	}
	if _, ok := s.table.containers.Load(id); ok {
		return true
	}
	for _, l := range s.steps.Live() {
		if l.ID == id {
			return true
		}
	}
	return false
}

// groups are the cgroups in which those of pods and containers are.
func (s *Server) groups() []string {
	groups := s.conf().CgroupParents()
	s.table.eachPod(func(p *pod) { groups = append(groups, p.rec.Load().CgroupParent) })
	return groups
}

func (s *Server) layers() (ids, orphans []string) {
	orphans, err := s.images.Orphans()
	if err != nil {
		klog.V(2).InfoS("Image store cannot be looked at", "err", err)
	}
	return s.images.ListRW(), orphans
}
