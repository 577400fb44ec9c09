package server

import (
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/varve-cri/varve/cri/plan"
)

// backlog is how many events a subscriber may be behind before it is cut off:
// the kubelet then lists anew, which is cheaper than an unbounded queue.
const backlog = 1024

// broadcast hands events to whoever listens. With no listener it costs one
// lock and makes no event.
type broadcast struct {
	mu   sync.Mutex
	subs map[chan *runtimeapi.ContainerEventResponse]struct{} // guarded by mu
}

func (b *broadcast) subscribe() chan *runtimeapi.ContainerEventResponse {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.subs == nil {
		b.subs = map[chan *runtimeapi.ContainerEventResponse]struct{}{}
	}
	ch := make(chan *runtimeapi.ContainerEventResponse, backlog)
	b.subs[ch] = struct{}{}
	return ch
}

func (b *broadcast) leave(ch chan *runtimeapi.ContainerEventResponse) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.subs, ch)
}

func (b *broadcast) idle() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.subs) == 0
}

func (b *broadcast) send(e *runtimeapi.ContainerEventResponse) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for ch := range b.subs {
		select {
		case ch <- e:
		default:
			delete(b.subs, ch)
			close(ch)
		}
	}
}

// event tells listeners what happened to a container, or to a pod (whose
// events carry the pod's id, as the kubelet expects).
func (s *Server) event(t runtimeapi.ContainerEventType, id string, p *pod) {
	if s.events.idle() {
		return
	}
	e := &runtimeapi.ContainerEventResponse{
		ContainerId: id, ContainerEventType: t, CreatedAt: time.Now().UnixNano(),
		PodSandboxStatus: plan.PodStatus(p.rec.Load()),
	}
	for _, c := range p.list() {
		e.ContainersStatuses = append(e.ContainersStatuses, plan.ContainerStatus(c.rec.Load()))
	}
	s.events.send(e)
}

// GetContainerEvents streams what happens to containers from now on.
func (s *Server) GetContainerEvents(_ *runtimeapi.GetEventsRequest, out runtimeapi.RuntimeService_GetContainerEventsServer) error {
	ch := s.events.subscribe()
	defer s.events.leave(ch)
	for {
		select {
		case <-out.Context().Done():
			return nil
		case e, ok := <-ch:
			if !ok {
				return coded(codes.ResourceExhausted, "container events: the listener is more than %d behind", backlog)
			}
			if err := out.Send(e); err != nil {
				return err
			}
		}
	}
}
