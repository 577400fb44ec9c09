package server

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/varve-cri/varve/cri/record"
)

// crowd puts pods and containers on the table that are there in name only, and
// takes them off again when the test ends.
func (n *node) crowd(pods, containers int) {
	n.t.Helper()
	note := map[string]string{"note": strings.Repeat("x", 4<<10)}
	for i := range pods {
		pc := podConfig(n.t)
		pc.Metadata.Name, pc.Annotations = fmt.Sprint("pod", i), note
		p := newPod(&record.Pod{ID: newID(), Config: pc, State: record.PodReady, CreatedAt: int64(i + 1)})
		n.s.table.addPod(p)
		n.t.Cleanup(func() { n.s.table.dropPod(p) })
		for j := range containers / pods {
			cc := containerConfig(pc, fmt.Sprint("c", j))
			cc.Annotations = note
			c := newContainer(p, &record.Container{ID: newID(), PodID: p.id, Config: cc, State: record.Exited, CreatedAt: int64(j + 1)})
			if err := n.s.table.addContainer(c); err != nil {
				n.t.Fatal(err)
			}
			n.t.Cleanup(func() { n.s.table.dropContainer(c) })
		}
	}
}

// received reads a stream to its end: the ids in their order, and the number
// of messages.
func received[R any](t *testing.T, recv func() (R, error), ids func(R) []string) (all []string, messages int) {
	t.Helper()
	seen := map[string]bool{}
	for {
		m, err := recv()
		if errors.Is(err, io.EOF) {
			return all, messages
		}
		if err != nil {
			t.Fatal(err)
		}
		messages++
		part := ids(m)
		if len(part) == 0 {
			t.Error("a message without items")
		}
		for _, id := range part {
			if seen[id] {
				t.Errorf("%s is sent twice", id)
			}
			seen[id] = true
		}
		all = append(all, part...)
	}
}

func idsOf[T any](list []T, id func(T) string) []string {
	out := make([]string, 0, len(list))
	for _, v := range list {
		out = append(out, id(v))
	}
	return out
}

func podIDs(r *runtimeapi.StreamPodSandboxesResponse) []string {
	return idsOf(r.GetPodSandboxes(), (*runtimeapi.PodSandbox).GetId)
}

func containerIDs(r *runtimeapi.StreamContainersResponse) []string {
	return idsOf(r.GetContainers(), (*runtimeapi.Container).GetId)
}

// TestStreams: each stream gives what its list gives, in several messages, and
// filters as that does.
func TestStreams(t *testing.T) {
	n := newNode(t)
	n.crowd(100, 400)
	ctx := n.ctx()
	for name, filter := range map[string]*runtimeapi.PodSandboxFilter{
		"all": nil, "labelled": {LabelSelector: map[string]string{"app": "web"}}, "none": {LabelSelector: map[string]string{"app": "db"}},
		"not ready": {State: &runtimeapi.PodSandboxStateValue{State: runtimeapi.PodSandboxState_SANDBOX_NOTREADY}},
	} {
		list, err := n.ListPodSandbox(ctx, &runtimeapi.ListPodSandboxRequest{Filter: filter})
		if err != nil {
			t.Fatal(err)
		}
		stream, err := n.StreamPodSandboxes(ctx, &runtimeapi.StreamPodSandboxesRequest{Filter: filter})
		if err != nil {
			t.Fatal(err)
		}
		got, messages := received(t, stream.Recv, podIDs)
		if w := idsOf(list.GetItems(), (*runtimeapi.PodSandbox).GetId); fmt.Sprint(got) != fmt.Sprint(w) || len(w) == 100 && messages < 2 {
			t.Errorf("%s: %d pods in %d messages, not %d", name, len(got), messages, len(w))
		}
		stats, err := n.StreamPodSandboxStats(ctx, &runtimeapi.StreamPodSandboxStatsRequest{Filter: &runtimeapi.PodSandboxStatsFilter{LabelSelector: filter.GetLabelSelector()}})
		if err != nil {
			t.Fatal(err)
		}
		of, _ := received(t, stats.Recv, func(r *runtimeapi.StreamPodSandboxStatsResponse) []string {
			return idsOf(r.GetPodSandboxStats(), func(s *runtimeapi.PodSandboxStats) string { return s.GetAttributes().GetId() })
		})
		if filter.GetState() == nil && fmt.Sprint(of) != fmt.Sprint(got) {
			t.Errorf("%s: figures of %d pods, not %d", name, len(of), len(got))
		}
	}
	list, err := n.ListContainers(ctx, &runtimeapi.ListContainersRequest{})
	if err != nil {
		t.Fatal(err)
	}
	all := idsOf(list.GetContainers(), (*runtimeapi.Container).GetId)
	for name, filter := range map[string]*runtimeapi.ContainerFilter{"all": nil, "a pod's": {PodSandboxId: list.GetContainers()[0].GetPodSandboxId()}, "one": {Id: all[7]}} {
		stream, err := n.StreamContainers(ctx, &runtimeapi.StreamContainersRequest{Filter: filter})
		if err != nil {
			t.Fatal(err)
		}
		got, _ := received(t, stream.Recv, containerIDs)
		stats, err := n.StreamContainerStats(ctx, &runtimeapi.StreamContainerStatsRequest{Filter: &runtimeapi.ContainerStatsFilter{Id: filter.GetId(), PodSandboxId: filter.GetPodSandboxId()}})
		if err != nil {
			t.Fatal(err)
		}
		of, _ := received(t, stats.Recv, func(r *runtimeapi.StreamContainerStatsResponse) []string {
			return idsOf(r.GetContainerStats(), func(s *runtimeapi.ContainerStats) string { return s.GetAttributes().GetId() })
		})
		wanted := map[string]int{"all": 400, "a pod's": 4, "one": 1}[name]
		if len(got) != wanted || fmt.Sprint(of) != fmt.Sprint(got) || name == "all" && fmt.Sprint(got) != fmt.Sprint(all) {
			t.Errorf("%s: %d containers, figures of %d; want %d", name, len(got), len(of), wanted)
		}
	}
}

func TestStreamImages(t *testing.T) {
	n := newNode(t)
	for _, pulled := range []int{0, 1} {
		stream, err := n.StreamImages(n.ctx(), &runtimeapi.StreamImagesRequest{})
		if err != nil {
			t.Fatal(err)
		}
		got, _ := received(t, stream.Recv, func(r *runtimeapi.StreamImagesResponse) []string {
			return idsOf(r.GetImages(), (*runtimeapi.Image).GetId)
		})
		if len(got) != pulled {
			t.Errorf("%d images, not %d", len(got), pulled)
		}
		n.pull()
	}
}

// TestStreamToOneWhoDoesNotRead: a list of 2,000 containers, some 10 MiB, is
// never in memory as a whole while its client takes its time.
func TestStreamToOneWhoDoesNotRead(t *testing.T) {
	n := newNode(t)
	n.crowd(200, 2000)
	list, err := n.ListContainers(n.ctx(), &runtimeapi.ListContainersRequest{})
	if err != nil {
		t.Fatal(err)
	}
	whole := int64(proto.Size(list))
	before := heap()
	stream, err := n.StreamContainers(n.ctx(), &runtimeapi.StreamContainersRequest{})
	if err != nil {
		t.Fatal(err)
	}
	first, err := stream.Recv()
	if err != nil {
		t.Fatal(err)
	}
	most := int64(0)
	for range 10 { // the server is ahead as far as it can be
		time.Sleep(20 * time.Millisecond)
		most = max(most, heap()-before)
	}
	got, messages := received(t, stream.Recv, containerIDs)
	got = append(got, containerIDs(first)...)
	t.Logf("a list of %d KiB in %d messages took %d KiB while its client did not read", whole>>10, messages+1, most>>10)
	if len(got) != 2000 || whole < 8<<20 || most > whole/4 {
		t.Errorf("%d containers, a list of %d KiB took %d KiB", len(got), whole>>10, most>>10)
	}
}
