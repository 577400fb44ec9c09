package crash

import (
	"context"
	"testing"
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/varve-cri/varve/e2e/harness"
)

// TestRequestsPastTheirDeadline ends requests after every few hundred
// microseconds of their work. Whatever was undone or done, the same request
// succeeds after it, and the audit finds nothing more than that.
func TestRequestsPastTheirDeadline(t *testing.T) {
	h := suite.Test(t)
	for after := 200 * time.Microsecond; after < 40*time.Millisecond; after += after / 3 {
		config := h.PodConfig(harness.OwnNetwork)
		short := func(call func(ctx context.Context)) {
			ctx, cancel := context.WithTimeout(h.Ctx, after)
			defer cancel()
			call(ctx)
		}
		run := &runtimeapi.RunPodSandboxRequest{Config: config}
		short(func(ctx context.Context) { h.RunPodSandbox(ctx, run) }) //nolint:errcheck // that it fails is likely
		pod, err := h.RunPodSandbox(h.Ctx, run)
		h.Must(err)

		create := &runtimeapi.CreateContainerRequest{
			PodSandboxId: pod.GetPodSandboxId(), SandboxConfig: config,
			Config: &runtimeapi.ContainerConfig{
				Metadata: &runtimeapi.ContainerMetadata{Name: "c"}, Args: []string{"sleep"},
				Image: &runtimeapi.ImageSpec{Image: harness.Probe}, Linux: &runtimeapi.LinuxContainerConfig{},
			},
		}
		short(func(ctx context.Context) { h.CreateContainer(ctx, create) }) //nolint:errcheck // see above
		c, err := h.CreateContainer(h.Ctx, create)
		h.Must(err)
		start := &runtimeapi.StartContainerRequest{ContainerId: c.GetContainerId()}
		short(func(ctx context.Context) { h.StartContainer(ctx, start) }) //nolint:errcheck // see above
		short(func(ctx context.Context) {
			h.StopContainer(ctx, &runtimeapi.StopContainerRequest{ContainerId: start.ContainerId})
		}) //nolint:errcheck // see above
		short(func(ctx context.Context) {
			h.StopPodSandbox(ctx, &runtimeapi.StopPodSandboxRequest{PodSandboxId: pod.GetPodSandboxId()})
		}) //nolint:errcheck // see above
		h.Must(h.RemovePod(h.Ctx, pod.GetPodSandboxId()))
	}
}
