package pod

import (
	"testing"

	"google.golang.org/grpc/codes"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/varve-cri/varve/e2e/harness"
)

func TestPodFilters(t *testing.T) {
	h := suite.Test(t)
	label := func(value string) harness.PodChange {
		return func(c *runtimeapi.PodSandboxConfig) { c.Labels["which"] = value }
	}
	one, two := h.Pod(label("one")), h.Pod(label("two"))
	two.Stop()
	ready := &runtimeapi.PodSandboxStateValue{State: runtimeapi.PodSandboxState_SANDBOX_READY}
	for name, tc := range map[string]struct {
		filter *runtimeapi.PodSandboxFilter
		want   []string
	}{
		"none":          {nil, []string{one.ID, two.ID}},
		"empty":         {&runtimeapi.PodSandboxFilter{}, []string{one.ID, two.ID}},
		"id":            {&runtimeapi.PodSandboxFilter{Id: one.ID}, []string{one.ID}},
		"prefix":        {&runtimeapi.PodSandboxFilter{Id: one.ID[:13]}, []string{one.ID}},
		"unknown id":    {&runtimeapi.PodSandboxFilter{Id: "feedfeed"}, nil},
		"state":         {&runtimeapi.PodSandboxFilter{State: ready}, []string{one.ID}},
		"label":         {&runtimeapi.PodSandboxFilter{LabelSelector: map[string]string{"which": "two"}}, []string{two.ID}},
		"label + state": {&runtimeapi.PodSandboxFilter{LabelSelector: map[string]string{"which": "two"}, State: ready}, nil},
	} {
		answer, err := h.ListPodSandbox(h.Ctx, &runtimeapi.ListPodSandboxRequest{Filter: tc.filter})
		h.Must(err)
		var got []string
		for _, pod := range answer.GetItems() {
			got = append(got, pod.GetId())
		}
		if !sameSet(got, tc.want) {
			t.Errorf("filter %s: got %v, want %v", name, got, tc.want)
		}
	}
}

func TestContainerFilters(t *testing.T) {
	h := suite.Test(t)
	pod, other := h.Pod(), h.Pod()
	made, runs, ended := pod.Create(), pod.Start(harness.Say("sleep")), pod.Start(harness.Say("exit 0"))
	elsewhere := other.Start(harness.Say("sleep"))
	ended.WaitExit()
	state := func(s runtimeapi.ContainerState) *runtimeapi.ContainerStateValue {
		return &runtimeapi.ContainerStateValue{State: s}
	}
	label := runs.Status().GetLabels()
	for name, tc := range map[string]struct {
		filter *runtimeapi.ContainerFilter
		want   []string
	}{
		"none":       {nil, []string{made.ID, runs.ID, ended.ID, elsewhere.ID}},
		"pod":        {&runtimeapi.ContainerFilter{PodSandboxId: pod.ID}, []string{made.ID, runs.ID, ended.ID}},
		"pod prefix": {&runtimeapi.ContainerFilter{PodSandboxId: other.ID[:13]}, []string{elsewhere.ID}},
		"id":         {&runtimeapi.ContainerFilter{Id: runs.ID}, []string{runs.ID}},
		"prefix":     {&runtimeapi.ContainerFilter{Id: runs.ID[:13]}, []string{runs.ID}},
		"created":    {&runtimeapi.ContainerFilter{State: state(runtimeapi.ContainerState_CONTAINER_CREATED)}, []string{made.ID}},
		"running": {&runtimeapi.ContainerFilter{State: state(runtimeapi.ContainerState_CONTAINER_RUNNING), PodSandboxId: pod.ID},
			[]string{runs.ID}},
		"exited": {&runtimeapi.ContainerFilter{State: state(runtimeapi.ContainerState_CONTAINER_EXITED)}, []string{ended.ID}},
		"label":  {&runtimeapi.ContainerFilter{LabelSelector: label}, []string{runs.ID}},
		"nobody": {&runtimeapi.ContainerFilter{Id: runs.ID, PodSandboxId: other.ID}, nil},
	} {
		answer, err := h.ListContainers(h.Ctx, &runtimeapi.ListContainersRequest{Filter: tc.filter})
		h.Must(err)
		var got []string
		for _, c := range answer.GetContainers() {
			got = append(got, c.GetId())
		}
		if !sameSet(got, tc.want) {
			t.Errorf("filter %s: got %v, want %v", name, got, tc.want)
		}
	}
	stats, err := h.ListContainerStats(h.Ctx, &runtimeapi.ListContainerStatsRequest{Filter: &runtimeapi.ContainerStatsFilter{PodSandboxId: other.ID}})
	h.Must(err)
	if len(stats.GetStats()) != 1 || stats.GetStats()[0].GetAttributes().GetId() != elsewhere.ID {
		t.Errorf("stats of one pod: %v", stats.GetStats())
	}
}

func sameSet(a, b []string) bool {
	if len(a) != len(b) {
		return false
	}
	in := map[string]bool{}
	for _, s := range a {
		in[s] = true
	}
	for _, s := range b {
		if !in[s] {
			return false
		}
	}
	return true
}

func TestCodes(t *testing.T) {
	h := suite.Test(t)
	const unknown = "feedfeedfeed"
	pod := h.Pod()
	for name, call := range map[string]func() error{
		"PodSandboxStatus": func() error {
			_, err := h.PodSandboxStatus(h.Ctx, &runtimeapi.PodSandboxStatusRequest{PodSandboxId: unknown})
			return err
		},
		"ContainerStatus": func() error {
			_, err := h.ContainerStatus(h.Ctx, &runtimeapi.ContainerStatusRequest{ContainerId: unknown})
			return err
		},
		"StartContainer": func() error {
			_, err := h.StartContainer(h.Ctx, &runtimeapi.StartContainerRequest{ContainerId: unknown})
			return err
		},
		"ExecSync": func() error {
			_, err := h.ExecSync(h.Ctx, &runtimeapi.ExecSyncRequest{ContainerId: unknown, Cmd: []string{"x"}})
			return err
		},
		"ContainerStats": func() error {
			_, err := h.ContainerStats(h.Ctx, &runtimeapi.ContainerStatsRequest{ContainerId: unknown})
			return err
		},
		"ReopenContainerLog": func() error {
			_, err := h.ReopenContainerLog(h.Ctx, &runtimeapi.ReopenContainerLogRequest{ContainerId: unknown})
			return err
		},
		"CreateContainer": func() error {
			_, err := h.CreateContainer(h.Ctx, &runtimeapi.CreateContainerRequest{
				PodSandboxId: unknown, Config: pod.ContainerConfig(), SandboxConfig: pod.Config,
			})
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			h.For(t).WantCode(call(), codes.NotFound, unknown)
		})
	}
	_, err := h.CheckpointContainer(h.Ctx, &runtimeapi.CheckpointContainerRequest{ContainerId: unknown})
	h.WantCode(err, codes.Unimplemented, "CheckpointContainer")
}

func TestInvalidPods(t *testing.T) {
	h := suite.Test(t)
	for name, tc := range map[string]struct {
		change harness.PodChange
		words  []string
	}{
		"no metadata": {change: func(c *runtimeapi.PodSandboxConfig) { c.Metadata = nil }, words: []string{"metadata"}},
		"no name":     {change: func(c *runtimeapi.PodSandboxConfig) { c.Metadata.Name = "" }, words: []string{"name"}},
		"hostname":    {change: func(c *runtimeapi.PodSandboxConfig) { harness.OwnNetwork(c); c.Hostname = "a\nb" }, words: []string{"hostname"}},
		"user namespace": {change: func(c *runtimeapi.PodSandboxConfig) {
			c.Linux.SecurityContext.NamespaceOptions.UsernsOptions = &runtimeapi.UserNamespace{Mode: runtimeapi.NamespaceMode_POD}
		}, words: []string{"userns"}},
		"sysctl of the host": {change: func(c *runtimeapi.PodSandboxConfig) {
			c.Linux.Sysctls = map[string]string{"vm.swappiness": "1"}
		}, words: []string{"vm.swappiness"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := h.RunPodSandbox(h.Ctx, &runtimeapi.RunPodSandboxRequest{Config: h.PodConfig(tc.change)})
			h.For(t).WantCode(err, codes.InvalidArgument, tc.words...)
		})
	}
	_, err := h.RunPodSandbox(h.Ctx, &runtimeapi.RunPodSandboxRequest{Config: h.PodConfig(), RuntimeHandler: "no-such-handler"})
	h.WantCode(err, codes.InvalidArgument, "runtime_handler", "no-such-handler")
	_, err = h.RunPodSandbox(h.Ctx, &runtimeapi.RunPodSandboxRequest{})
	h.WantCode(err, codes.InvalidArgument, "config")
}
