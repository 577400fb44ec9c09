package server

import (
	"time"

	"google.golang.org/grpc/codes"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/varve-cri/varve/cri/event"
	"github.com/varve-cri/varve/cri/plan"
)

// event tells listeners what happened to a container, or to a pod (whose
// events carry the pod's id, as the kubelet expects).
func (s *Server) event(t runtimeapi.ContainerEventType, id string, p *pod) {
	if s.events.Idle() {
		return
	}
	e := &runtimeapi.ContainerEventResponse{
		ContainerId: id, ContainerEventType: t, CreatedAt: time.Now().UnixNano(),
		PodSandboxStatus: plan.PodStatus(p.rec.Load()),
	}
	for _, c := range p.list() {
		e.ContainersStatuses = append(e.ContainersStatuses, plan.ContainerStatus(c.rec.Load()))
	}
	s.events.Send(e)
}

// GetContainerEvents streams what happens to containers from now on.
func (s *Server) GetContainerEvents(_ *runtimeapi.GetEventsRequest, out runtimeapi.RuntimeService_GetContainerEventsServer) error {
	ch := s.events.Subscribe()
	defer s.events.Leave(ch)
	for {
		select {
		case <-out.Context().Done():
			return nil
		case e, ok := <-ch:
			if !ok {
				return coded(codes.ResourceExhausted, "container events: the listener is more than %d behind", event.Backlog)
			}
			if err := out.Send(e); err != nil {
				return err
			}
		}
	}
}
