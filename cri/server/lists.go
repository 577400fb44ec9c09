package server

import (
	"cmp"
	"context"
	"slices"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/varve-cri/varve/cri/page"
	"github.com/varve-cri/varve/cri/record"
	"github.com/varve-cri/varve/cri/view"
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

// podRecords is the pods that pass as they are at this moment: what is made of
// them later shows one state, however long the list takes to be sent.
func (s *Server) podRecords(f *runtimeapi.PodSandboxFilter) []*record.Pod {
	match := func(r *record.Pod) bool { return view.MatchPod(f, r) }
	var out []*record.Pod
	for _, p := range s.matchingPods(f.GetId(), match) {
		if r := p.rec.Load(); match(r) { // it may have changed since
			out = append(out, r)
		}
	}
	return out
}

// containerRecords is podRecords for containers.
func (s *Server) containerRecords(f *runtimeapi.ContainerFilter) []*record.Container {
	match := func(r *record.Container) bool { return view.MatchContainer(f, r) }
	var out []*record.Container
	for _, c := range s.matchingContainers(f.GetId(), f.GetPodSandboxId(), match) {
		if r := c.rec.Load(); match(r) {
			out = append(out, r)
		}
	}
	return out
}

// ListPodSandbox lists the pods that pass the filter.
func (s *Server) ListPodSandbox(_ context.Context, req *runtimeapi.ListPodSandboxRequest) (*runtimeapi.ListPodSandboxResponse, error) {
	if err := view.CheckPodFilter(req.GetFilter()); err != nil {
		return nil, err
	}
	return &runtimeapi.ListPodSandboxResponse{Items: page.Each(view.PodItem)(s.podRecords(req.GetFilter()))}, nil
}

// StreamPodSandboxes is ListPodSandbox in pieces.
func (s *Server) StreamPodSandboxes(req *runtimeapi.StreamPodSandboxesRequest, out runtimeapi.RuntimeService_StreamPodSandboxesServer) error {
	if err := view.CheckPodFilter(req.GetFilter()); err != nil {
		return err
	}
	return page.Send(s.podRecords(req.GetFilter()), page.Each(view.PodItem), func(part []*runtimeapi.PodSandbox) error {
		return out.Send(&runtimeapi.StreamPodSandboxesResponse{PodSandboxes: part})
	})
}

// ListContainers lists the containers that pass the filter.
func (s *Server) ListContainers(_ context.Context, req *runtimeapi.ListContainersRequest) (*runtimeapi.ListContainersResponse, error) {
	if err := view.CheckContainerFilter(req.GetFilter()); err != nil {
		return nil, err
	}
	return &runtimeapi.ListContainersResponse{Containers: page.Each(view.ContainerItem)(s.containerRecords(req.GetFilter()))}, nil
}

// StreamContainers is ListContainers in pieces.
func (s *Server) StreamContainers(req *runtimeapi.StreamContainersRequest, out runtimeapi.RuntimeService_StreamContainersServer) error {
	if err := view.CheckContainerFilter(req.GetFilter()); err != nil {
		return err
	}
	return page.Send(s.containerRecords(req.GetFilter()), page.Each(view.ContainerItem), func(part []*runtimeapi.Container) error {
		return out.Send(&runtimeapi.StreamContainersResponse{Containers: part})
	})
}

// PodSandboxStatus is the status of one pod.
func (s *Server) PodSandboxStatus(_ context.Context, req *runtimeapi.PodSandboxStatusRequest) (*runtimeapi.PodSandboxStatusResponse, error) {
	p, err := s.table.findPod(req.GetPodSandboxId())
	if err != nil {
		return nil, err
	}
	r := p.rec.Load()
	resp := &runtimeapi.PodSandboxStatusResponse{Status: view.PodStatus(r)}
	if req.GetVerbose() {
		resp.Info, err = view.PodInfo(r, s.records.PodDir(p.id))
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
	resp := &runtimeapi.ContainerStatusResponse{Status: view.ContainerStatus(r)}
	if req.GetVerbose() {
		resp.Info, err = view.ContainerInfo(r, s.records.ContainerDir(c.id))
	}
	return resp, err
}
