package event

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/varve-cri/varve/cri/record"
)

// named is an event that is told by its id.
func named(id string) func() *Event {
	return func() *Event { return &Event{ID: id, Pod: &record.Pod{ID: "p"}} }
}

func next(t *testing.T, l *Listener) (*Event, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	return l.Next(ctx)
}

func TestEveryListenerHearsAllInOrder(t *testing.T) {
	var b Broadcast
	if !b.Idle() {
		t.Error("somebody listens")
	}
	b.Send(func() *Event { t.Error("an event is made for nobody"); return nil })
	one, two := b.Listen(), b.Listen()
	for _, id := range []string{"a", "b", "c"} {
		b.Send(named(id))
	}
	late := b.Listen()
	b.Send(named("d"))
	for l, want := range map[*Listener]string{one: "abcd", two: "abcd", late: "d"} {
		got := ""
		for range want {
			e, err := next(t, l)
			if err != nil {
				t.Fatal(err)
			}
			got += e.ID
		}
		if got != want {
			t.Errorf("heard %q, not %q", got, want)
		}
	}
	if len(b.log) != 0 || b.bytes != 0 {
		t.Errorf("%d events of %d bytes are kept that all have heard", len(b.log), b.bytes)
	}
	one.Leave()
	two.Leave()
	late.Leave()
	if !b.Idle() {
		t.Error("somebody is left")
	}
}

func TestNextWaits(t *testing.T) {
	var b Broadcast
	l := b.Listen()
	defer l.Leave()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := l.Next(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("without events: %v", err)
	}
	go b.Send(named("a"))
	if e, err := next(t, l); err != nil || e.ID != "a" {
		t.Errorf("event %v, %v", e, err)
	}
}

// TestSlowListener: one who does not read costs MaxBytes at most, keeps nobody
// else from hearing everything, and is told.
func TestSlowListener(t *testing.T) {
	var b Broadcast
	quick, slow := b.Listen(), b.Listen()
	labels := map[string]string{"note": strings.Repeat("x", 10<<10)}
	const sent = 2000
	most := 0
	for range sent {
		b.Send(func() *Event {
			return &Event{Pod: &record.Pod{ID: "p"}, Gone: &runtimeapi.PodSandboxConfig{Labels: labels}}
		})
		if _, err := next(t, quick); err != nil {
			t.Fatal(err)
		}
		if most = max(most, len(b.log)); b.bytes > MaxBytes || b.bytes < len(b.log)*10<<10 {
			t.Fatalf("%d events are counted as %d bytes", len(b.log), b.bytes)
		}
	}
	if most < MaxBytes/(12<<10) || most > MaxBytes/(10<<10) {
		t.Errorf("%d events were kept for the slow one", most)
	}
	var behind *BehindError
	if _, err := next(t, slow); !errors.As(err, &behind) || behind.Missed != sent {
		t.Errorf("the slow one hears %v", err)
	}
	b.Send(named("a"))
	if e, err := next(t, quick); err != nil || e.ID != "a" {
		t.Errorf("the quick one hears %v, %v", e, err)
	}
	if len(b.log) != 0 {
		t.Errorf("%d events are kept for one who is behind anyway", len(b.log))
	}
}

// TestManyListeners: the bound is for all of them together.
func TestManyListeners(t *testing.T) {
	var b Broadcast
	for range 100 {
		b.Listen()
	}
	for range 2 * MaxBytes / eventBytes {
		b.Send(named("a"))
	}
	if b.bytes > MaxBytes || len(b.log) > MaxBytes/eventBytes {
		t.Errorf("%d events of %d bytes", len(b.log), b.bytes)
	}
}

func TestKeep(t *testing.T) {
	var b Broadcast
	b.Keep()
	if b.Idle() {
		t.Error("nothing would be kept")
	}
	b.Send(named("a"))
	first := b.Listen()
	b.Send(named("b"))
	second := b.Listen()
	for _, l := range []*Listener{first, second} {
		for _, want := range []string{"a", "b"} {
			if e, err := next(t, l); err != nil || e.ID != want {
				t.Errorf("heard %v, %v; want %s", e, err, want)
			}
		}
		l.Leave()
	}
	b.KeepFor(time.Millisecond)
	for !b.Idle() {
		time.Sleep(time.Millisecond)
	}
	if len(b.log) != 0 {
		t.Errorf("%d events are kept for nobody", len(b.log))
	}
	l := b.Listen()
	defer l.Leave()
	b.Send(named("c"))
	if e, err := next(t, l); err != nil || e.ID != "c" {
		t.Errorf("heard %v, %v", e, err)
	}
}

func TestMessage(t *testing.T) {
	e := Event{
		Type: runtimeapi.ContainerEventType_CONTAINER_STOPPED_EVENT, ID: "c", At: 7,
		Pod:        &record.Pod{ID: "p", Config: &runtimeapi.PodSandboxConfig{Metadata: &runtimeapi.PodSandboxMetadata{Uid: "u"}}},
		Containers: []*record.Container{{ID: "c", State: record.Exited, ExitCode: 3}, {ID: "d", State: record.Running}},
	}
	m := e.Message()
	if m.GetContainerId() != "c" || m.GetCreatedAt() != 7 || m.GetContainerEventType() != e.Type || m.GetPodSandboxStatus().GetMetadata().GetUid() != "u" {
		t.Errorf("message %v", m)
	}
	if s := m.GetContainersStatuses(); len(s) != 2 || s[0].GetExitCode() != 3 || s[1].GetState() != runtimeapi.ContainerState_CONTAINER_RUNNING {
		t.Errorf("statuses %v", s)
	}
}
