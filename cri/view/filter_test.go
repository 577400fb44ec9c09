package view

import (
	"errors"
	"testing"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/varve-cri/varve/cri/fault"
	"github.com/varve-cri/varve/cri/record"
)

func TestMatch(t *testing.T) {
	p := &record.Pod{ID: "abc123", State: record.PodReady, Config: &runtimeapi.PodSandboxConfig{Labels: map[string]string{"a": "1", "b": ""}}}
	c := &record.Container{ID: "def456", PodID: "abc123", State: record.Running, Config: &runtimeapi.ContainerConfig{Labels: map[string]string{"a": "1"}}}
	ready := func(s runtimeapi.PodSandboxState) *runtimeapi.PodSandboxStateValue {
		return &runtimeapi.PodSandboxStateValue{State: s}
	}
	for i, f := range []struct {
		filter *runtimeapi.PodSandboxFilter
		want   bool
	}{
		{nil, true},
		{&runtimeapi.PodSandboxFilter{}, true},
		{&runtimeapi.PodSandboxFilter{Id: "abc"}, true},
		{&runtimeapi.PodSandboxFilter{Id: "bc"}, false},
		{&runtimeapi.PodSandboxFilter{State: ready(runtimeapi.PodSandboxState_SANDBOX_READY)}, true},
		{&runtimeapi.PodSandboxFilter{State: ready(runtimeapi.PodSandboxState_SANDBOX_NOTREADY)}, false},
		{&runtimeapi.PodSandboxFilter{LabelSelector: map[string]string{"a": "1", "b": ""}}, true},
		{&runtimeapi.PodSandboxFilter{LabelSelector: map[string]string{"c": ""}}, false},
		{&runtimeapi.PodSandboxFilter{Id: "abc123", LabelSelector: map[string]string{"a": "2"}}, false},
	} {
		if MatchPod(f.filter, p) != f.want {
			t.Errorf("pod filter %d", i)
		}
		if f.filter.GetState() == nil {
			stats := &runtimeapi.PodSandboxStatsFilter{Id: f.filter.GetId(), LabelSelector: f.filter.GetLabelSelector()}
			if MatchPodStats(stats, p) != f.want {
				t.Errorf("pod stats filter %d", i)
			}
		}
	}
	for i, f := range []struct {
		filter *runtimeapi.ContainerFilter
		want   bool
	}{
		{nil, true},
		{&runtimeapi.ContainerFilter{Id: "def456", PodSandboxId: "abc"}, true},
		{&runtimeapi.ContainerFilter{PodSandboxId: "def"}, false},
		{&runtimeapi.ContainerFilter{State: &runtimeapi.ContainerStateValue{State: runtimeapi.ContainerState_CONTAINER_CREATED}}, false},
		{&runtimeapi.ContainerFilter{State: &runtimeapi.ContainerStateValue{State: runtimeapi.ContainerState_CONTAINER_RUNNING}}, true},
		{&runtimeapi.ContainerFilter{LabelSelector: map[string]string{"a": "1"}}, true},
		{&runtimeapi.ContainerFilter{LabelSelector: map[string]string{"a": "1", "b": "1"}}, false},
	} {
		if MatchContainer(f.filter, c) != f.want {
			t.Errorf("container filter %d", i)
		}
		if f.filter.GetState() == nil {
			stats := &runtimeapi.ContainerStatsFilter{Id: f.filter.GetId(), PodSandboxId: f.filter.GetPodSandboxId(), LabelSelector: f.filter.GetLabelSelector()}
			if MatchContainerStats(stats, c) != f.want {
				t.Errorf("container stats filter %d", i)
			}
		}
	}
}

func TestMatchImage(t *testing.T) {
	const id = "sha256:0123456789abcdef"
	tags := []string{"docker.io/library/busybox:latest", "reg.example:5000/a/b:v1"}
	digests := []string{"docker.io/library/busybox@sha256:feed"}
	for name, want := range map[string]bool{
		"": true, id: true, "sha256:0123": true, "012345": true, "012": false,
		"busybox": true, "library/busybox": true, "docker.io/busybox": false, "docker.io/library/busybox": true, "index.docker.io/library/busybox:latest": true,
		"busybox:1": false, "busybox@sha256:feed": true, "busybox:any@sha256:feed": true, "busybox@sha256:beef": false,
		"reg.example:5000/a/b:v1": true, "reg.example:5000/a/b": false, "a/b:v1": false,
	} {
		f := &runtimeapi.ImageFilter{Image: &runtimeapi.ImageSpec{Image: name}}
		if MatchImage(f, id, tags, digests) != want {
			t.Errorf("%q matches: %v", name, !want)
		}
	}
	if !MatchImage(nil, id, nil, nil) {
		t.Error("no filter keeps nothing")
	}
}

// A state that there is not would give an empty list, which reads as "there is none".
func TestUnknownStates(t *testing.T) {
	for _, n := range []int32{-1, 0, 1, 2, 3, 4} {
		pods := CheckPodFilter(&runtimeapi.PodSandboxFilter{State: &runtimeapi.PodSandboxStateValue{State: runtimeapi.PodSandboxState(n)}})
		containers := CheckContainerFilter(&runtimeapi.ContainerFilter{State: &runtimeapi.ContainerStateValue{State: runtimeapi.ContainerState(n)}})
		for kind, c := range map[string]struct {
			err   error
			known bool
		}{"pod": {pods, n >= 0 && n <= 1}, "container": {containers, n >= 0 && n <= 3}} {
			var bad *fault.InvalidError
			if c.known && c.err != nil || !c.known && (!errors.As(c.err, &bad) || bad.Field != "filter.state.state") {
				t.Errorf("%s state %d: %v", kind, n, c.err)
			}
		}
	}
	if err := errors.Join(CheckPodFilter(nil), CheckContainerFilter(nil)); err != nil {
		t.Errorf("no filter: %v", err)
	}
}
