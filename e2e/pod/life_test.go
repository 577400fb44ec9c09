package pod

import (
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/varve-cri/varve/e2e/harness"
)

func TestLifeOnBothNetworks(t *testing.T) {
	for name, changes := range map[string][]harness.PodChange{
		"host": nil,
		"cni":  {harness.OwnNetwork},
	} {
		t.Run(name, func(t *testing.T) {
			h := suite.Test(t)
			before := time.Now()
			pod := h.Pod(append(changes, func(c *runtimeapi.PodSandboxConfig) {
				c.Annotations = map[string]string{"odd/ä \n": "value = \x01 kept"}
			})...)
			status := pod.Status()
			if status.GetState() != runtimeapi.PodSandboxState_SANDBOX_READY {
				t.Errorf("state of a running pod is %s", status.GetState())
			}
			if at := time.Unix(0, status.GetCreatedAt()); at.Before(before) || at.After(time.Now()) {
				t.Errorf("createdAt is %s", at)
			}
			if status.GetMetadata().GetUid() != pod.Config.GetMetadata().GetUid() || status.GetLabels()["test"] != "e2e" {
				t.Errorf("metadata or labels differ: %v", status)
			}
			if got := status.GetAnnotations()["odd/ä \n"]; got != "value = \x01 kept" {
				t.Errorf("annotation is %q", got)
			}

			c := pod.Start(harness.Say("print hello + sleep"))
			if got := c.Status(); got.GetState() != runtimeapi.ContainerState_CONTAINER_RUNNING || got.GetStartedAt() < got.GetCreatedAt() {
				t.Errorf("status of a running container: %v", got)
			}
			c.WaitLog("hello")

			pod.Stop()
			if got := pod.Status().GetState(); got != runtimeapi.PodSandboxState_SANDBOX_NOTREADY {
				t.Errorf("state of a stopped pod is %s", got)
			}
			if got := c.Status(); got.GetState() != runtimeapi.ContainerState_CONTAINER_EXITED || got.GetFinishedAt() == 0 {
				t.Errorf("container of a stopped pod: %v", got)
			}
			if _, err := pod.TryCreate(); err == nil {
				t.Error("a container can be created in a stopped pod")
			}
			h.Must(h.RemovePod(h.Ctx, pod.ID))
			_, err := h.PodSandboxStatus(h.Ctx, &runtimeapi.PodSandboxStatusRequest{PodSandboxId: pod.ID})
			h.WantCode(err, codes.NotFound, pod.ID)
			_, err = h.ContainerStatus(h.Ctx, &runtimeapi.ContainerStatusRequest{ContainerId: c.ID})
			h.WantCode(err, codes.NotFound, c.ID)
		})
	}
}

func TestStopAndRemoveAreIdempotent(t *testing.T) {
	h := suite.Test(t)
	pod := h.Pod()
	c := pod.Start(harness.Say("sleep"))
	for range 3 {
		c.Stop(0)
	}
	for range 3 {
		c.Remove()
	}
	for range 3 {
		pod.Stop()
	}
	for range 3 {
		h.Must(h.RemovePod(h.Ctx, pod.ID))
	}
	unknown := strings.Repeat("ab", 32)
	if _, err := h.StopContainer(h.Ctx, &runtimeapi.StopContainerRequest{ContainerId: unknown}); err != nil {
		t.Errorf("stop of a container that is not there: %v", err)
	}
	if _, err := h.RemoveContainer(h.Ctx, &runtimeapi.RemoveContainerRequest{ContainerId: unknown}); err != nil {
		t.Errorf("remove of a container that is not there: %v", err)
	}
	h.Must(h.RemovePod(h.Ctx, unknown))
}

func TestRunPodSandboxIsIdempotent(t *testing.T) {
	h := suite.Test(t)
	pod := h.Pod()
	again, err := h.RunPodSandbox(h.Ctx, &runtimeapi.RunPodSandboxRequest{Config: pod.Config})
	h.Must(err)
	if again.GetPodSandboxId() != pod.ID {
		t.Errorf("the same pod run again is %s, want %s", again.GetPodSandboxId(), pod.ID)
	}
	config := pod.ContainerConfig(harness.Say("sleep"))
	create := func() string {
		answer, err := h.CreateContainer(h.Ctx, &runtimeapi.CreateContainerRequest{PodSandboxId: pod.ID, Config: config, SandboxConfig: pod.Config})
		h.Must(err)
		return answer.GetContainerId()
	}
	if a, b := create(), create(); a != b {
		t.Errorf("the same container created again is %s, want %s", b, a)
	}
}

func TestRemoveOfARunningPod(t *testing.T) {
	h := suite.Test(t)
	pod := h.Pod(harness.OwnNetwork)
	pod.Start(harness.Say("ignore SIGTERM + sleep"))
	_, err := h.RemovePodSandbox(h.Ctx, &runtimeapi.RemovePodSandboxRequest{PodSandboxId: pod.ID})
	h.Must(err)
}

func TestManyPodsAtOnce(t *testing.T) {
	h := suite.Test(t)
	const n = 12
	errs := make(chan error, n)
	for range n {
		config := h.PodConfig()
		go func() { errs <- oneCycle(h, config) }()
	}
	for range n {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
}

func oneCycle(h *harness.Test, config *runtimeapi.PodSandboxConfig) error {
	pod, err := h.RunPodSandbox(h.Ctx, &runtimeapi.RunPodSandboxRequest{Config: config})
	if err != nil {
		return err
	}
	id := pod.GetPodSandboxId()
	c, err := h.CreateContainer(h.Ctx, &runtimeapi.CreateContainerRequest{
		PodSandboxId: id, SandboxConfig: config,
		Config: &runtimeapi.ContainerConfig{
			Metadata: &runtimeapi.ContainerMetadata{Name: "c"}, Args: []string{"sleep"},
			Image: &runtimeapi.ImageSpec{Image: harness.Probe}, Linux: &runtimeapi.LinuxContainerConfig{},
		},
	})
	if err != nil {
		return err
	}
	if _, err := h.StartContainer(h.Ctx, &runtimeapi.StartContainerRequest{ContainerId: c.GetContainerId()}); err != nil {
		return err
	}
	for range 3 {
		_, err := h.ExecSync(h.Ctx, &runtimeapi.ExecSyncRequest{ContainerId: c.GetContainerId(), Cmd: []string{"/bin/probe", "id"}, Timeout: 60})
		if err != nil {
			return err
		}
	}
	return h.RemovePod(h.Ctx, id)
}
