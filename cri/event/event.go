package event

import (
	"google.golang.org/protobuf/proto"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/varve-cri/varve/cri/record"
	"github.com/varve-cri/varve/cri/view"
)

// Event is what happened to a container or a pod, and what its pod was like
// right after. Records are never changed once they can be seen, so that
// keeping an event copies nothing.
type Event struct {
	Type       runtimeapi.ContainerEventType
	ID         string // of the container, or of the pod
	At         int64  // nanoseconds since 1970
	Pod        *record.Pod
	Containers []*record.Container // of the pod; a deleted one is not among them
	Gone       proto.Message       // with a deletion, the configuration of what was deleted

	size int // what it was counted as
}

// Message returns the event as the CRI has it, with full statuses.
func (e *Event) Message() *runtimeapi.ContainerEventResponse {
	m := &runtimeapi.ContainerEventResponse{
		ContainerId: e.ID, ContainerEventType: e.Type, CreatedAt: e.At,
		PodSandboxStatus:   view.PodStatus(e.Pod),
		ContainersStatuses: make([]*runtimeapi.ContainerStatus, 0, len(e.Containers)),
	}
	for _, c := range e.Containers {
		m.ContainersStatuses = append(m.ContainersStatuses, view.ContainerStatus(c))
	}
	return m
}

const (
	eventBytes     = 1 << 10 // an event with the copy of a record that the change made
	containerBytes = 128     // a container in an event: a pointer, and its share of another's change
)

// bytes is what keeping the event costs. Configurations belong to objects that
// are there anyway, and an object's events all come before its deletion: only
// that one has to be counted for what it keeps from being freed.
func (e *Event) bytes() int {
	n := eventBytes + containerBytes*len(e.Containers)
	if e.Gone != nil {
		n += proto.Size(e.Gone)
	}
	return n
}
