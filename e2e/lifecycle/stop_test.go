package lifecycle

import (
	"context"
	"math"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"google.golang.org/grpc/codes"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/varve-cri/varve/e2e/harness"
)

const (
	running = runtimeapi.ContainerState_CONTAINER_RUNNING
	exited  = runtimeapi.ContainerState_CONTAINER_EXITED
)

// stop is StopContainer in the background.
func stop(ctx context.Context, h *harness.Test, c *harness.Container, seconds int64) <-chan error {
	done := make(chan error, 1)
	go func() {
		_, err := h.StopContainer(ctx, &runtimeapi.StopContainerRequest{ContainerId: c.ID, Timeout: seconds})
		done <- err
	}()
	return done
}

// The signal that stops: the request's, else the image's, else SIGTERM; the
// status names it as the CRI does.
func TestStopSignals(t *testing.T) {
	h := suite.Test(t)
	pod := h.Pod()
	const none = runtimeapi.Signal_SIGNAL_RUNTIME_DEFAULT
	for i, tc := range []struct {
		image   string
		request runtimeapi.Signal
		sent    string // as the probe has it
		told    runtimeapi.Signal
	}{
		{"", none, "SIGTERM", runtimeapi.Signal_SIGNAL_SIGTERM},
		{"", runtimeapi.Signal_SIGNAL_SIGHUP, "SIGHUP", runtimeapi.Signal_SIGNAL_SIGHUP},
		{"SIGQUIT", none, "SIGQUIT", runtimeapi.Signal_SIGNAL_SIGQUIT},
		{"quit", none, "SIGQUIT", runtimeapi.Signal_SIGNAL_SIGQUIT},
		{"10", none, "SIGUSR1", runtimeapi.Signal_SIGNAL_SIGUSR1},
		{"SIGRTMIN+3", none, "37", runtimeapi.Signal_SIGNAL_SIGRTMINPLUS3}, // systemd's "halt"
		{"RTMAX-1", none, "63", runtimeapi.Signal_SIGNAL_SIGRTMAXMINUS1},
		{"SIGRTMIN+3", runtimeapi.Signal_SIGNAL_SIGRTMINPLUS4, "38", runtimeapi.Signal_SIGNAL_SIGRTMINPLUS4},
		{"SIGNONSENSE", none, "SIGTERM", runtimeapi.Signal_SIGNAL_SIGTERM},
	} {
		image := harness.Probe
		if tc.image != "" {
			image = h.Image("stop-"+string(rune('a'+i)), v1.Config{StopSignal: tc.image})
		}
		c := pod.Start(harness.Image(image), harness.Args("trap", tc.sent, "42"), func(c *runtimeapi.ContainerConfig) { c.StopSignal = tc.request })
		c.WaitLog("waiting")
		if got := c.Status().GetStopSignal(); got != tc.told {
			t.Errorf("%q and %s: status tells %s, want %s", tc.image, tc.request, got, tc.told)
		}
		c.Stop(time.Minute)
		if got := c.Status().GetExitCode(); got != 42 {
			t.Errorf("%q and %s: exit code %d: not the signal %s", tc.image, tc.request, got, tc.sent)
		}
	}
	_, err := pod.TryCreate(func(c *runtimeapi.ContainerConfig) { c.StopSignal = 1000 })
	h.WantCode(err, codes.InvalidArgument, "stop_signal")
}

// A stop with less patience does not queue behind one with more, and what was
// asked once is not asked again: a second signal means "at once" to many programs.
func TestSecondStopShortensTheFirst(t *testing.T) {
	h := suite.Test(t)
	pod := h.Pod()
	deaf := pod.Start(harness.Say("ignore SIGTERM + print deaf + sleep"))
	deaf.WaitLog("deaf")
	patient := stop(h.Ctx, h, deaf, 100000)
	h.Must(<-stop(h.Ctx, h, deaf, 1))
	h.Must(<-patient)
	if got := deaf.Status(); got.GetExitCode() != 137 || got.GetReason() != "Error" {
		t.Errorf("exit code %d, reason %s", got.GetExitCode(), got.GetReason())
	}

	c := pod.Start(harness.Say("count SIGTERM 1s"))
	c.WaitLog("waiting")
	one := stop(h.Ctx, h, c, 60)
	c.WaitLog("caught one")
	two := stop(h.Ctx, h, c, 50)
	h.Must(<-one)
	h.Must(<-two)
	if got := c.Status().GetExitCode(); got != 1 {
		t.Errorf("the signal came %d times", got)
	}
}

// A caller that goes away takes nothing with it: the container goes on as it
// was asked to, and another stop ends it.
func TestStopIsCancelled(t *testing.T) {
	h := suite.Test(t)
	c := h.Pod().Start(harness.Say("ignore SIGTERM + print deaf + sleep"))
	c.WaitLog("deaf")
	ctx, cancel := context.WithCancel(h.Ctx)
	first := stop(ctx, h, c, 100000)
	time.Sleep(100 * time.Millisecond) // so that it waits; either way it ends as cancelled
	cancel()
	h.WantCode(<-first, codes.Canceled)
	if got := c.Status().GetState(); got != running {
		t.Errorf("state %s", got)
	}
	c.Stop(0)
	if got := c.Status(); got.GetState() != exited || got.GetExitCode() != 137 {
		t.Errorf("status %v", got)
	}
}

// Longer than a clock can count is not "at once".
func TestStopWithEndlessPatience(t *testing.T) {
	h := suite.Test(t)
	c := h.Pod().Start(harness.Say("count SIGTERM 500ms"))
	c.WaitLog("waiting")
	h.Must(<-stop(h.Ctx, h, c, math.MaxInt64))
	if got := c.Status().GetExitCode(); got != 1 {
		t.Errorf("exit code %d", got)
	}
}

// Stop and remove in every state.
func TestStopAndRemoveInEveryState(t *testing.T) {
	h := suite.Test(t)
	pod := h.Pod()
	created := pod.Create(harness.Say("sleep"))
	created.Stop(time.Second)
	if got := created.Status().GetState(); got != runtimeapi.ContainerState_CONTAINER_CREATED {
		t.Errorf("a created container is %s after a stop", got)
	}
	h.Must(created.TryStart())
	created.Remove() // running: killed

	gone := pod.Start(harness.Say("exit 3"))
	gone.WaitExit()
	gone.Stop(time.Second)
	if got := gone.Status().GetExitCode(); got != 3 {
		t.Errorf("exit code %d after a stop", got)
	}
	gone.Remove()
	gone.Stop(time.Second)
	gone.Remove()
	for _, c := range []*harness.Container{created, gone} {
		_, err := h.ContainerStatus(h.Ctx, &runtimeapi.ContainerStatusRequest{ContainerId: c.ID})
		h.WantCode(err, codes.NotFound, c.ID)
	}
	deaf := pod.Start(harness.Say("ignore SIGTERM + spawn sleep + sleep"))
	_, err := h.RemovePodSandbox(h.Ctx, &runtimeapi.RemovePodSandboxRequest{PodSandboxId: pod.ID})
	h.Must(err)
	_, err = h.ContainerStatus(h.Ctx, &runtimeapi.ContainerStatusRequest{ContainerId: deaf.ID})
	h.WantCode(err, codes.NotFound, deaf.ID)
}
