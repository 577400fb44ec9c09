package server

import (
	"cmp"
	"context"
	"slices"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/varve-cri/varve/cri/plan"
	"github.com/varve-cri/varve/cri/record"
)

// matchingPods returns the pods that pass, the newest first. A whole id, as
// the kubelet sends it, looks at one pod only.
func (s *Server) matchingPods(id string, match func(*record.Pod) bool) []*pod {
	var out []*pod
	take := func(p *pod) {
		if match(p.rec.Load()) {
			out = append(out, p)
		}
	}
	if v, ok := s.table.pods.Load(id); ok {
		take(v.(*pod)) //nolint:forcetypeassert // *pod only
		return out
	}
	s.table.eachPod(take)
	slices.SortFunc(out, func(a, b *pod) int {
		return cmp.Or(cmp.Compare(b.rec.Load().CreatedAt, a.rec.Load().CreatedAt), cmp.Compare(a.id, b.id))
	})
	return out
}

// matchingContainers is matchingPods for containers; a whole pod id looks at
// that pod's containers only.
func (s *Server) matchingContainers(id, podID string, match func(*record.Container) bool) []*container {
	var out []*container
	take := func(c *container) {
		if match(c.rec.Load()) {
			out = append(out, c)
		}
	}
	if v, ok := s.table.containers.Load(id); ok {
		take(v.(*container)) //nolint:forcetypeassert // *container only
		return out
	}
	if v, ok := s.table.pods.Load(podID); ok {
		for _, c := range v.(*pod).list() { //nolint:forcetypeassert // *pod only
			take(c)
		}
	} else {
		s.table.eachContainer(take)
	}
	slices.SortFunc(out, func(a, b *container) int {
		return cmp.Or(cmp.Compare(b.rec.Load().CreatedAt, a.rec.Load().CreatedAt), cmp.Compare(a.id, b.id))
	})
	return out
}

func (s *Server) podItems(f *runtimeapi.PodSandboxFilter) []*runtimeapi.PodSandbox {
	list := s.matchingPods(f.GetId(), func(r *record.Pod) bool { return plan.MatchPod(f, r) })
	items := make([]*runtimeapi.PodSandbox, 0, len(list))
	for _, p := range list {
		items = append(items, plan.PodItem(p.rec.Load()))
	}
	return items
}

func (s *Server) containerItems(f *runtimeapi.ContainerFilter) []*runtimeapi.Container {
	list := s.matchingContainers(f.GetId(), f.GetPodSandboxId(), func(r *record.Container) bool { return plan.MatchContainer(f, r) })
	items := make([]*runtimeapi.Container, 0, len(list))
	for _, c := range list {
		items = append(items, plan.ContainerItem(c.rec.Load()))
	}
	return items
}

// ListPodSandbox lists the pods that pass the filter.
func (s *Server) ListPodSandbox(_ context.Context, req *runtimeapi.ListPodSandboxRequest) (*runtimeapi.ListPodSandboxResponse, error) {
	return &runtimeapi.ListPodSandboxResponse{Items: s.podItems(req.GetFilter())}, nil
}

// StreamPodSandboxes is ListPodSandbox in pieces.
func (s *Server) StreamPodSandboxes(req *runtimeapi.StreamPodSandboxesRequest, out runtimeapi.RuntimeService_StreamPodSandboxesServer) error {
	return chunks(s.podItems(req.GetFilter()), func(part []*runtimeapi.PodSandbox) error {
		return out.Send(&runtimeapi.StreamPodSandboxesResponse{PodSandboxes: part})
	})
}

// ListContainers lists the containers that pass the filter.
func (s *Server) ListContainers(_ context.Context, req *runtimeapi.ListContainersRequest) (*runtimeapi.ListContainersResponse, error) {
	return &runtimeapi.ListContainersResponse{Containers: s.containerItems(req.GetFilter())}, nil
}

// StreamContainers is ListContainers in pieces.
func (s *Server) StreamContainers(req *runtimeapi.StreamContainersRequest, out runtimeapi.RuntimeService_StreamContainersServer) error {
	return chunks(s.containerItems(req.GetFilter()), func(part []*runtimeapi.Container) error {
		return out.Send(&runtimeapi.StreamContainersResponse{Containers: part})
	})
}

// chunks sends a list in messages of a size that no limit minds.
func chunks[T any](list []T, send func([]T) error) error {
	for part := range slices.Chunk(list, 100) {
		if err := send(part); err != nil {
			return err
		}
	}
	return nil
}

// PodSandboxStatus is the status of one pod.
func (s *Server) PodSandboxStatus(_ context.Context, req *runtimeapi.PodSandboxStatusRequest) (*runtimeapi.PodSandboxStatusResponse, error) {
	p, err := s.table.findPod(req.GetPodSandboxId())
	if err != nil {
		return nil, err
	}
	r := p.rec.Load()
	resp := &runtimeapi.PodSandboxStatusResponse{Status: plan.PodStatus(r)}
	if req.GetVerbose() {
		resp.Info, err = plan.PodInfo(r, s.records.PodDir(p.id))
	}
	return resp, err
}

// ContainerStatus is the status of one container.
func (s *Server) ContainerStatus(_ context.Context, req *runtimeapi.ContainerStatusRequest) (*runtimeapi.ContainerStatusResponse, error) {
	c, err := s.table.findContainer(req.GetContainerId())
	if err != nil {
		return nil, err
	}
	r := c.rec.Load()
	resp := &runtimeapi.ContainerStatusResponse{Status: plan.ContainerStatus(r)}
	if req.GetVerbose() {
		resp.Info, err = plan.ContainerInfo(r, s.records.ContainerDir(c.id))
	}
	return resp, err
}
