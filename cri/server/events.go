package server

import (
	"errors"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/varve-cri/varve/cri/event"
)

// reconnect is how long after its start a daemon keeps what it has found for
// listeners of the one before it: a kubelet tries again every few seconds.
const reconnect = time.Minute

// event tells listeners what happened to a container, or to a pod (whose
// events carry the pod's id, as the kubelet expects). Events of one object are
// in order because whoever changes it sends them before the next may: under the
// object's lock, or before what that waits for.
func (s *Server) event(t runtimeapi.ContainerEventType, id string, p *pod) {
	s.gone(t, id, p, nil)
}

// gone is event with the configuration of what was deleted.
func (s *Server) gone(t runtimeapi.ContainerEventType, id string, p *pod, config proto.Message) {
	if s.events.Idle() {
		return
	}
	s.events.Send(func() *event.Event {
		e := &event.Event{Type: t, ID: id, At: time.Now().UnixNano(), Pod: p.rec.Load(), Gone: config}
		for _, c := range p.list() {
			e.Containers = append(e.Containers, c.rec.Load())
		}
		return e
	})
}

// GetContainerEvents streams what happens to containers and pods from now on,
// and, for a minute after the daemon's start, what it found to have happened
// while there was none. A listener that is too slow is told so at the end: it
// has to list anew.
func (s *Server) GetContainerEvents(_ *runtimeapi.GetEventsRequest, out runtimeapi.RuntimeService_GetContainerEventsServer) error {
	l := s.events.Listen()
	defer l.Leave()
	// Whoever waits for the stream's header knows that it listens.
	if err := out.SendHeader(metadata.MD{}); err != nil {
		return err
	}
	for {
		e, err := l.Next(out.Context())
		var behind *event.BehindError
		switch {
		case errors.As(err, &behind):
			return coded(codes.ResourceExhausted, "container events: %w", err)
		case err != nil: // the caller has gone
			return nil
		}
		if err := out.Send(e.Message()); err != nil {
			return err
		}
	}
}
