package server

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/varve-cri/varve/cri/record"
	"github.com/varve-cri/varve/shim"
)

// listen opens a stream of events and waits until the server knows of it.
func (n *node) listen() runtimeapi.RuntimeService_GetContainerEventsClient {
	n.t.Helper()
	stream, err := n.GetContainerEvents(n.ctx(), &runtimeapi.GetEventsRequest{})
	if err != nil {
		n.t.Fatal(err)
	}
	if _, err := stream.Header(); err != nil {
		n.t.Fatal(err)
	}
	return stream
}

// told is an event in short: whose, which, and the states that it shows.
func told(e *runtimeapi.ContainerEventResponse, names map[string]string) string {
	kind := strings.TrimSuffix(strings.TrimPrefix(e.GetContainerEventType().String(), "CONTAINER_"), "_EVENT")
	s := names[e.GetContainerId()] + " " + kind + " " + strings.TrimPrefix(e.GetPodSandboxStatus().GetState().String(), "SANDBOX_")
	for _, c := range e.GetContainersStatuses() {
		s += fmt.Sprintf(" %s:%s", names[c.GetId()], strings.TrimPrefix(c.GetState().String(), "CONTAINER_"))
	}
	return s
}

func (n *node) hear(stream runtimeapi.RuntimeService_GetContainerEventsClient, names map[string]string, want ...string) {
	n.t.Helper()
	last := int64(0)
	for _, w := range want {
		e, err := stream.Recv()
		if err != nil {
			n.t.Fatalf("instead of %q: %v", w, err)
		}
		if got := told(e, names); got != w {
			n.t.Errorf("heard %q, not %q", got, w)
		}
		if e.GetCreatedAt() < last || e.GetPodSandboxStatus().GetMetadata().GetUid() == "" {
			n.t.Errorf("event %v", e)
		}
		last = e.GetCreatedAt()
	}
}

// TestEvents follows a pod with a container through their lives.
func TestEvents(t *testing.T) {
	n := newNode(t)
	n.pull()
	stream := n.listen()
	pc := podConfig(t)
	pod := n.pod(pc)
	id := n.run(pod, pc, containerConfig(pc, "main", "exit", "3"))
	n.exit(id)
	if _, err := n.RemoveContainer(n.ctx(), &runtimeapi.RemoveContainerRequest{ContainerId: id}); err != nil {
		t.Fatal(err)
	}
	bad := containerConfig(pc, "bad")
	bad.Command = []string{"/no/such"}
	badID, err := n.create(pod, pc, bad)
	if err != nil {
		t.Fatal(err)
	}
	_, err = n.StartContainer(n.ctx(), &runtimeapi.StartContainerRequest{ContainerId: badID})
	want(t, err, codes.Unknown, "/no/such")
	long := n.run(pod, pc, containerConfig(pc, "long", "sleep"))
	n.s.removePodNow(t, pod)
	n.hear(stream, map[string]string{pod: "pod", id: "main", badID: "bad", long: "long"},
		"pod CREATED READY", "pod STARTED READY",
		"main CREATED READY main:CREATED", "main STARTED READY main:RUNNING", "main STOPPED READY main:EXITED", "main DELETED READY",
		"bad CREATED READY bad:CREATED", "bad STOPPED READY bad:EXITED",
	)
	// From here on two containers are listed, in any order.
	var got []string
	for range 7 {
		e, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, strings.Join(strings.Fields(told(e, map[string]string{pod: "pod", badID: "bad", long: "long"}))[:3], " "))
	}
	s := strings.Join(got, ", ")
	if !strings.HasPrefix(s, "long CREATED READY, long STARTED READY, long STOPPED NOTREADY, pod STOPPED NOTREADY, ") || !strings.HasSuffix(s, ", pod DELETED NOTREADY") ||
		!strings.Contains(s, "bad DELETED NOTREADY") || !strings.Contains(s, "long DELETED NOTREADY") {
		t.Errorf("heard %s", s)
	}
}

// TestEventsAfterRestart: who finds the daemon again is told what has ended
// while there was none.
func TestEventsAfterRestart(t *testing.T) {
	n := newNode(t)
	n.pull()
	pc := podConfig(t)
	pod := n.pod(pc)
	id := n.run(pod, pc, containerConfig(pc, "main", "sleep"))
	n.run(pod, pc, containerConfig(pc, "other", "sleep"))
	c, err := n.s.table.findContainer(id)
	if err != nil {
		t.Fatal(err)
	}
	n.crash()
	if err := unix.Kill(c.rec.Load().PID, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	await(t, "the exit is on record", func() bool {
		_, err := shim.ReadExit(n.s.records.ContainerDir(id))
		return err == nil
	})
	n.restart()
	stream := n.listen()
	for {
		e, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		if e.GetContainerId() == id && e.GetContainerEventType() == runtimeapi.ContainerEventType_CONTAINER_STOPPED_EVENT && len(e.GetContainersStatuses()) == 2 {
			return
		}
	}
}

// TestEventsOfAPausedPod: a pod whose pause process dies has stopped, once.
func TestEventsOfAPausedPod(t *testing.T) {
	n := newNode(t)
	stream := n.listen()
	pod := n.pod(podConfig(t, sharedPID))
	p, err := n.s.table.findPod(pod)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Kill(p.rec.Load().PausePID, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	n.hear(stream, map[string]string{pod: "pod"}, "pod CREATED READY", "pod STARTED READY", "pod STOPPED NOTREADY")
	n.s.removePodNow(t, pod)
	n.hear(stream, map[string]string{pod: "pod"}, "pod DELETED NOTREADY")
}

// TestEventsToOneWhoDoesNotRead: the server's memory stays bounded, nobody
// waits, and the stream ends with the reason.
func TestEventsToOneWhoDoesNotRead(t *testing.T) {
	n := newNode(t)
	stream := n.listen() // and nothing is read until the end
	p := newPod(&record.Pod{ID: newID(), Config: podConfig(t), State: record.PodReady})
	for i := range 100 { // statuses of some 100 KiB in each event
		rec := &record.Container{ID: newID(), PodID: p.id, State: record.Running, Config: containerConfig(p.rec.Load().Config, fmt.Sprint(i))}
		rec.Config.Annotations = map[string]string{"note": strings.Repeat("x", 1000)}
		c := newContainer(p, rec)
		p.containers[c.id] = c
	}
	before := heap()
	const sent = 20000
	begin := time.Now()
	for range sent {
		n.s.event(runtimeapi.ContainerEventType_CONTAINER_STOPPED_EVENT, p.id, p)
	}
	took, grown := time.Since(begin), heap()-before
	t.Logf("%d events to one who does not read: %v each, %d KiB more", sent, took/sent, grown>>10)
	if grown > 24<<20 {
		t.Errorf("memory grew by %d KiB", grown>>10)
	}
	heard := 0
	for {
		e, err := stream.Recv()
		if err != nil {
			want(t, err, codes.ResourceExhausted, "too slow", "lost")
			break
		}
		heard++
		if len(e.GetContainersStatuses()) != 100 {
			t.Fatalf("an event with %d statuses", len(e.GetContainersStatuses()))
		}
	}
	if heard == sent {
		t.Errorf("heard %d of %d", heard, sent)
	}
}

// heap is what is in use after a collection.
func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
