package plan

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/varve-cri/varve/cri/record"
	"github.com/varve-cri/varve/cri/step"
	"github.com/varve-cri/varve/imagestore/fault"
)

func pull(kind fault.Kind, cause error) error {
	return &fault.Error{Kind: kind, Ref: "r/i:t", Step: "fetch manifest", Err: cause}
}

func TestStatus(t *testing.T) {
	inStep := func(err error) error {
		return &step.Error{Op: step.Op{Verb: "Create", Object: "container c"}, Step: "plan", Err: err}
	}
	plain := errors.New("x")
	for name, c := range map[string]struct {
		err  error
		code codes.Code
		text string
	}{
		"invalid":        {invalid("config.hostname", "is odd"), codes.InvalidArgument, "config.hostname: is odd"},
		"in a step":      {inStep(invalid("f", "p")), codes.InvalidArgument, "Create container c: plan: f: p"},
		"not found":      {fmt.Errorf("a: %w", &NotFoundError{"pod", "1"}), codes.NotFound, "a: pod 1 not found"},
		"state":          {(&record.Container{ID: "1", State: record.Exited}).Start(), codes.FailedPrecondition, "container 1 cannot be started while Exited"},
		"precondition":   {&PreconditionError{"container 1", "does not run"}, codes.FailedPrecondition, "container 1: does not run"},
		"unimplemented":  {&UnimplementedError{What: "Exec"}, codes.Unimplemented, "Exec not implemented"},
		"RRO in a step":  {inStep(&UnimplementedError{Prefix: "RROUnsupported", What: "x"}), codes.Unimplemented, "RROUnsupported: Create container c: plan: RROUnsupported: x not implemented"},
		"deadline":       {inStep(context.DeadlineExceeded), codes.DeadlineExceeded, "Create container c: plan: context deadline exceeded"},
		"canceled":       {context.Canceled, codes.Canceled, "context canceled"},
		"coded":          {fmt.Errorf("a: %w", status.Error(codes.AlreadyExists, "b")), codes.AlreadyExists, "a: rpc error: code = AlreadyExists desc = b"},
		"anything":       {plain, codes.Unknown, "x"},
		"unauthorized":   {pull(fault.Unauthorized, plain), codes.Unauthenticated, "pull r/i:t: fetch manifest: x"},
		"no such image":  {pull(fault.NotFound, plain), codes.NotFound, "pull r/i:t: fetch manifest: x"},
		"rate":           {pull(fault.RateLimited, plain), codes.ResourceExhausted, "pull r/i:t: fetch manifest: x"},
		"registry":       {inStep(pull(fault.Unavailable, plain)), codes.Unknown, "RegistryUnavailable: Create container c: plan: pull r/i:t: fetch manifest: x"},
		"registry slow":  {pull(fault.Unavailable, context.DeadlineExceeded), codes.Unknown, "RegistryUnavailable: pull r/i:t: fetch manifest: context deadline exceeded"},
		"digest":         {pull(fault.Digest, plain), codes.DataLoss, "pull r/i:t: fetch manifest: x"},
		"platform":       {pull(fault.Platform, plain), codes.FailedPrecondition, "pull r/i:t: fetch manifest: x"},
		"space":          {pull(fault.NoSpace, plain), codes.ResourceExhausted, "pull r/i:t: fetch manifest: no space left in the image store: x"},
		"pull canceled":  {pull(fault.Canceled, context.Canceled), codes.Canceled, "pull r/i:t: fetch manifest: context canceled"},
		"pull deadline":  {pull(fault.Canceled, context.DeadlineExceeded), codes.DeadlineExceeded, "pull r/i:t: fetch manifest: context deadline exceeded"},
		"pull of a kind": {pull("new kind", plain), codes.Unknown, "pull r/i:t: fetch manifest: x"},
	} {
		s, ok := status.FromError(Status(c.err))
		if !ok || s.Code() != c.code || s.Message() != c.text {
			t.Errorf("%s: %s %q, want %s %q", name, s.Code(), s.Message(), c.code, c.text)
		}
	}
	if Status(nil) != nil {
		t.Error("no error has a status")
	}
}

// Every kind of pull error has a code.
func TestPullCodes(t *testing.T) {
	for _, k := range []fault.Kind{
		fault.Unauthorized, fault.NotFound, fault.RateLimited, fault.Unavailable, fault.Digest, fault.Invalid,
		fault.Platform, fault.NoSpace, fault.Canceled, fault.Internal,
	} {
		if _, ok := pullCodes[k]; !ok {
			t.Errorf("%s has no code", k)
		}
	}
}

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
	podInfo, err := PodInfo(p, "/run/varve/pods/p1")
	if err != nil {
		t.Fatal(err)
	}
	containerInfo, err := ContainerInfo(c, "/run/varve/containers/c1")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "answer/pod", map[string]any{"item": message(t, PodItem(p)), "status": message(t, PodStatus(p)), "info": json.RawMessage(podInfo["info"])})
	golden(t, "answer/container", map[string]any{"item": message(t, ContainerItem(c)), "status": message(t, ContainerStatus(c)), "info": json.RawMessage(containerInfo["info"])})
}

func TestStates(t *testing.T) {
	for s, want := range map[record.ContainerState]runtimeapi.ContainerState{
		record.Created: runtimeapi.ContainerState_CONTAINER_CREATED, record.Starting: runtimeapi.ContainerState_CONTAINER_CREATED,
		record.Running: runtimeapi.ContainerState_CONTAINER_RUNNING, record.Exited: runtimeapi.ContainerState_CONTAINER_EXITED,
		record.Unknown: runtimeapi.ContainerState_CONTAINER_UNKNOWN, record.Removing: runtimeapi.ContainerState_CONTAINER_EXITED,
	} {
		if got := ContainerState(&record.Container{State: s}); got != want {
			t.Errorf("%s is %s", s, got)
		}
	}
	for s, want := range map[record.PodState]runtimeapi.PodSandboxState{
		record.PodPreparing: runtimeapi.PodSandboxState_SANDBOX_NOTREADY, record.PodReady: runtimeapi.PodSandboxState_SANDBOX_READY,
		record.PodNotReady: runtimeapi.PodSandboxState_SANDBOX_NOTREADY, record.PodRemoving: runtimeapi.PodSandboxState_SANDBOX_NOTREADY,
	} {
		if got := PodState(&record.Pod{State: s}); got != want {
			t.Errorf("%s is %s", s, got)
		}
	}
}

func TestSignals(t *testing.T) {
	// Each signal of the CRI has a number, and that number its name again, or
	// the name of the one it is another name for.
	for n, name := range runtimeapi.Signal_name {
		s, ok := SignalFromCRI(runtimeapi.Signal(n))
		if !ok || s.Number < 1 || s.Number > 64 {
			t.Errorf("%s is %+v", name, s)
			continue
		}
		again, ok := SignalByNumber(s.Number)
		if !ok || again != s {
			t.Errorf("%s is %+v, and %d is %+v", name, s, s.Number, again)
		}
		alias := map[string]bool{"SIGNAL_SIGCLD": true, "SIGNAL_SIGIOT": true, "SIGNAL_SIGPOLL": true, "SIGNAL_RUNTIME_DEFAULT": true}
		if again.CRI != runtimeapi.Signal(n) && !alias[name] {
			t.Errorf("%s comes back as %s", name, again.CRI)
		}
	}
	for name, want := range map[string]int{
		"SIGTERM": 15, "term": 15, "15": 15, "SIGRTMIN": 34, "SIGRTMIN+3": 37, "rtmax-1": 63, "SIGRTMAX": 64, "64": 64, "SIGIO": 29,
		"": 0, "SIG": 0, "0": 0, "65": 0, "33": 0, "-1": 0, "SIGFOO": 0, "RTMIN-1": 0, "RTMIN+31": 0, "RTMAX+1": 0, "RTMIN+-1": 0, "RTMIN+x": 0,
	} {
		s, ok := SignalByName(name)
		if ok != (want != 0) || s.Number != want {
			t.Errorf("%q is %+v", name, s)
		}
	}
	if s := (Signal{Number: 37}).String(); s != "SIGRTMIN+3" {
		t.Errorf("37 is %s", s)
	}
	in := input(func(in *ContainerInput) { in.Image.StopSignal = "SIGNOPE" })
	p, err := Container(in)
	if err != nil || p.StopSignal != DefaultStopSignal || len(p.Notes) != 1 || !strings.Contains(p.Notes[0], "SIGNOPE") {
		t.Errorf("an image's odd signal: %+v, %v", p, err)
	}
}
