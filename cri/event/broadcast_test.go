package event

import (
	"testing"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

func TestBroadcast(t *testing.T) {
	var b Broadcast
	if !b.Idle() {
		t.Error("somebody listens")
	}
	b.Send(&runtimeapi.ContainerEventResponse{}) // to nobody
	quick, slow := b.Subscribe(), b.Subscribe()
	for range Backlog + 1 { // one more than slow can hold
		b.Send(&runtimeapi.ContainerEventResponse{ContainerId: "c"})
		if e := <-quick; e.ContainerId != "c" {
			t.Fatalf("got %v", e)
		}
	}
	n := 0
	for range slow {
		n++
	}
	if n != Backlog {
		t.Errorf("the slow one got %d events before it was cut off", n)
	}
	b.Leave(slow)
	b.Leave(quick)
	if !b.Idle() {
		t.Error("somebody is left")
	}
}
