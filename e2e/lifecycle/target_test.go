package lifecycle

import (
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/varve-cri/varve/e2e/harness"
)

// joins makes an ephemeral container that sees the target's processes.
func joins(id string) harness.Change {
	return harness.Security(func(s *runtimeapi.LinuxContainerSecurityContext) {
		s.NamespaceOptions = &runtimeapi.NamespaceOption{
			Network: runtimeapi.NamespaceMode_NODE, Pid: runtimeapi.NamespaceMode_TARGET, TargetId: id,
		}
	})
}

func TestTarget(t *testing.T) {
	h := suite.Test(t)
	pod, other := h.Pod(), h.Pod()
	target := pod.Start(harness.Say("sleep 1000s"))
	foreign := other.Start(harness.Say("sleep 2000s"))
	debug := pod.Start(harness.Say("sleep 3000s"), joins(target.ID))
	if got := debug.Exec("pids"); !strings.Contains(got, "1 /bin/probe sleep 1000s\n") || !strings.Contains(got, "sleep 3000s\n") || strings.Contains(got, "2000s") {
		t.Errorf("processes seen:\n%s", got)
	}
	if got := target.Exec("pids"); !strings.Contains(got, "sleep 3000s") {
		t.Errorf("the target does not see who joined it:\n%s", got)
	}
	created, done := pod.Create(harness.Say("sleep")), pod.Start(harness.Say("exit 0"))
	done.WaitExit()
	for _, tc := range []struct {
		what, id string
		code     codes.Code
		words    []string
	}{
		{"none", "", codes.InvalidArgument, []string{"target_id", "is empty"}},
		{"nobody", strings.Repeat("ab", 32), codes.InvalidArgument, []string{"target_id", "not found"}},
		{"of another pod", foreign.ID, codes.InvalidArgument, []string{"target_id", foreign.ID, "not in this pod"}},
		{"not started", created.ID, codes.FailedPrecondition, []string{created.ID, "Created"}},
		{"exited", done.ID, codes.FailedPrecondition, []string{done.ID, "Exited"}},
	} {
		_, err := pod.TryCreate(joins(tc.id))
		t.Run(strings.ReplaceAll(tc.what, " ", "_"), func(t *testing.T) { h.For(t).WantCode(err, tc.code, tc.words...) })
	}
	_, err := h.RunPodSandbox(h.Ctx, &runtimeapi.RunPodSandboxRequest{Config: h.PodConfig(func(c *runtimeapi.PodSandboxConfig) {
		c.Linux.SecurityContext.NamespaceOptions.Pid = runtimeapi.NamespaceMode_TARGET
		c.Linux.SecurityContext.NamespaceOptions.TargetId = target.ID
	})})
	h.WantCode(err, codes.InvalidArgument, "namespace_options.pid")
}

// The target goes while one is made to join it, and while one has joined it.
func TestTargetEnds(t *testing.T) {
	h := suite.Test(t)
	pod := h.Pod()
	target := pod.Start(harness.Say("sleep"))
	late, in := pod.Create(harness.Say("sleep"), joins(target.ID)), pod.Start(harness.Say("sleep"), joins(target.ID))
	target.Stop(0)
	// With its init a PID namespace is over, and all in it are killed.
	if got := in.WaitExit(); got.GetExitCode() != 137 {
		t.Errorf("one that has joined: %v", got)
	}
	h.WantCode(late.TryStart(), codes.FailedPrecondition, target.ID, "Exited")
	if got := late.Status().GetState(); got != runtimeapi.ContainerState_CONTAINER_CREATED {
		t.Errorf("one that was to join is %s", got)
	}
	// One that ends by itself leaves the target as it is.
	target = pod.Start(harness.Say("sleep 1000s"))
	short := pod.Start(harness.Say("spawn sleep 77s + exit 5"), joins(target.ID))
	if got := short.WaitExit(); got.GetExitCode() != 5 {
		t.Errorf("exit code %d", got.GetExitCode())
	}
	harness.Eventually(t, "what it left behind is killed", func() bool { return !strings.Contains(target.Exec("pids"), "77s") })
	if got := target.Status().GetState(); got != running {
		t.Errorf("the target is %s", got)
	}
}
