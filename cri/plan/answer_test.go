package plan

import (
	"encoding/json"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/varve-cri/varve/cri/record"
	"github.com/varve-cri/varve/cri/signal"
	"github.com/varve-cri/varve/cri/view"
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
		if view.MatchPod(f.filter, p) != f.want {
			t.Errorf("pod filter %d", i)
		}
		if f.filter.GetState() == nil {
			stats := &runtimeapi.PodSandboxStatsFilter{Id: f.filter.GetId(), LabelSelector: f.filter.GetLabelSelector()}
			if view.MatchPodStats(stats, p) != f.want {
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
		if view.MatchContainer(f.filter, c) != f.want {
			t.Errorf("container filter %d", i)
		}
		if f.filter.GetState() == nil {
			stats := &runtimeapi.ContainerStatsFilter{Id: f.filter.GetId(), PodSandboxId: f.filter.GetPodSandboxId(), LabelSelector: f.filter.GetLabelSelector()}
			if view.MatchContainerStats(stats, c) != f.want {
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
		if view.MatchImage(f, id, tags, digests) != want {
			t.Errorf("%q matches: %v", name, !want)
		}
	}
	if !view.MatchImage(nil, id, nil, nil) {
		t.Error("no filter keeps nothing")
	}
}

func message(t *testing.T, m proto.Message) json.RawMessage {
	t.Helper()
	out, err := protojson.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	// protojson varies its white space on purpose.
	var v any
	if err := json.Unmarshal(out, &v); err != nil {
		t.Fatal(err)
	}
	if out, err = json.Marshal(v); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestAnswersGolden(t *testing.T) {
	p := &record.Pod{
		ID: "p1", Handler: "h", CreatedAt: 5, State: record.PodReady, Pins: record.Pins{Net: true},
		Config:       podRequest(func(c *runtimeapi.PodSandboxConfig) { c.Annotations = map[string]string{"a": "<b>"} }),
		Network:      record.Network{IPs: []string{"10.0.0.2", "fd00::2"}, Result: []byte(`{"cniVersion":"1.0.0"}`)},
		CgroupParent: "/kubepods/podx", Duties: []record.Duty{{Kind: record.DutyNetwork}},
	}
	c := &record.Container{
		ID: "c1", PodID: "p1", ImageID: "sha256:1", ImageRef: "r@sha256:2", State: record.Exited, CreatedAt: 5, StartedAt: 6, EndedAt: 7,
		ExitCode: 137, Reason: record.ReasonOOMKilled, LogPath: "/l/0.log", Cgroup: "/kubepods/podx/c1", StopSig: 3,
		User:      record.User{UID: 1000, GID: 1001, Groups: []uint32{1001, 10}},
		Resources: &runtimeapi.LinuxContainerResources{CpuShares: 2},
		Config: input(func(in *ContainerInput) {
			in.Config.Mounts = []*runtimeapi.Mount{{ContainerPath: "/m", HostPath: "/h"}}
			in.Config.Labels = map[string]string{"l": "v"}
		}).Config,
	}
	podInfo, err := view.PodInfo(p, "/run/varve/pods/p1")
	if err != nil {
		t.Fatal(err)
	}
	containerInfo, err := view.ContainerInfo(c, "/run/varve/containers/c1")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "answer/pod", map[string]any{"item": message(t, view.PodItem(p)), "status": message(t, view.PodStatus(p)), "info": json.RawMessage(podInfo["info"])})
	golden(t, "answer/container", map[string]any{"item": message(t, view.ContainerItem(c)), "status": message(t, view.ContainerStatus(c)), "info": json.RawMessage(containerInfo["info"])})
}

func TestStates(t *testing.T) {
	for s, want := range map[record.ContainerState]runtimeapi.ContainerState{
		record.Created: runtimeapi.ContainerState_CONTAINER_CREATED, record.Starting: runtimeapi.ContainerState_CONTAINER_CREATED,
		record.Running: runtimeapi.ContainerState_CONTAINER_RUNNING, record.Exited: runtimeapi.ContainerState_CONTAINER_EXITED,
		record.Unknown: runtimeapi.ContainerState_CONTAINER_UNKNOWN, record.Removing: runtimeapi.ContainerState_CONTAINER_EXITED,
	} {
		if got := view.ContainerState(&record.Container{State: s}); got != want {
			t.Errorf("%s is %s", s, got)
		}
	}
	for s, want := range map[record.PodState]runtimeapi.PodSandboxState{
		record.PodPreparing: runtimeapi.PodSandboxState_SANDBOX_NOTREADY, record.PodReady: runtimeapi.PodSandboxState_SANDBOX_READY,
		record.PodNotReady: runtimeapi.PodSandboxState_SANDBOX_NOTREADY, record.PodRemoving: runtimeapi.PodSandboxState_SANDBOX_NOTREADY,
	} {
		if got := view.PodState(&record.Pod{State: s}); got != want {
			t.Errorf("%s is %s", s, got)
		}
	}
}

func TestOddStopSignalOfAnImage(t *testing.T) {
	in := input(func(in *ContainerInput) { in.Image.StopSignal = "SIGNOPE" })
	p, err := Container(in)
	if err != nil || p.StopSignal != signal.Default || len(p.Notes) != 1 || !strings.Contains(p.Notes[0], "SIGNOPE") {
		t.Errorf("an image's odd signal: %+v, %v", p, err)
	}
}
