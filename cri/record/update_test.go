package record

import (
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/varve-cri/varve/runtime/cgroup"
)

func TestUpdateOnFile(t *testing.T) {
	s, err := Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	next := Limits{
		Resources: &runtimeapi.LinuxContainerResources{MemoryLimitInBytes: 5, Unified: map[string]string{"a.b": "c"}},
		Overhead:  &runtimeapi.LinuxContainerResources{}, // said, and empty
	}
	before := cgroup.Saved{{Controller: "cpu", File: "cpu.shares", Value: "2"}, {File: "memory.max", Value: "max"}}
	p, c := samplePod("p1"), sampleContainer("c1")
	if err := c.BeginUpdate(&Update{Next: Limits{Resources: next.Resources}, Before: before}); err != nil {
		t.Fatal(err)
	}
	if err := p.BeginUpdate(&Update{Next: next, Before: before}); err != nil {
		t.Fatal(err)
	}
	p.Limits = &next
	if err := s.SavePod(p); err != nil {
		t.Fatal(err)
	}
	if err := s.SaveContainer(c); err != nil {
		t.Fatal(err)
	}
	l, err := s.LoadAll()
	if err != nil || len(l.Bad) != 0 {
		t.Fatalf("%+v, %v", l, err)
	}
	gp, gc := l.Pods[0], l.Containers[0]
	for name, pair := range map[string][2]proto.Message{
		"pod's limits": {gp.Limits.Resources, next.Resources}, "pod's overhead": {gp.Limits.Overhead, next.Overhead},
		"pod's next": {gp.Pending.Next.Resources, next.Resources}, "container's next": {gc.Pending.Next.Resources, next.Resources},
	} {
		if !proto.Equal(pair[0], pair[1]) {
			t.Errorf("%s: %v, want %v", name, pair[0], pair[1])
		}
	}
	if gc.Pending.Next.Overhead != nil || len(gc.Pending.Before) != 2 || gc.Pending.Before[0] != before[0] || gp.Pending.Before[1] != before[1] {
		t.Errorf("%+v", gc.Pending)
	}
	if got := gp.CurrentLimits(); !proto.Equal(got.Resources, next.Resources) {
		t.Errorf("limits %v", got)
	}
	if got := samplePod("p2").CurrentLimits(); got.Resources != nil || got.Overhead != nil {
		t.Errorf("limits of a pod without any: %v", got)
	}
}

func TestUpdateByState(t *testing.T) {
	for state, ok := range map[ContainerState]bool{Created: true, Starting: true, Running: true, Exited: false, Unknown: false, Removing: false} {
		c := sampleContainer("c1")
		c.State = state
		if err := c.BeginUpdate(&Update{}); (err == nil) != ok {
			t.Errorf("%s: %v", state, err)
		}
		if err := c.Update(&runtimeapi.LinuxContainerResources{}); (err == nil) != ok {
			t.Errorf("%s: %v", state, err)
		}
	}
	for state, ok := range map[PodState]bool{PodPreparing: false, PodReady: true, PodNotReady: false, PodRemoving: false} {
		p := samplePod("p1")
		p.State = state
		if err := p.BeginUpdate(&Update{}); (err == nil) != ok {
			t.Errorf("%s: %v", state, err)
		}
	}
	c := sampleContainer("c1")
	if err := c.BeginUpdate(&Update{}); err != nil {
		t.Fatal(err)
	}
	if err := c.Exit(Exit{At: time.Now()}); err != nil || c.Pending != nil {
		t.Errorf("an exit leaves %+v, %v", c.Pending, err)
	}
}
