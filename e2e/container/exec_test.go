package container

import (
	"context"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/varve-cri/varve/e2e/harness"
	"github.com/varve-cri/varve/e2e/node"
)

func TestExecSync(t *testing.T) {
	h := suite.Test(t)
	c := h.Pod().Start(harness.Say("sleep"), func(c *runtimeapi.ContainerConfig) {
		c.Envs = []*runtimeapi.KeyValue{{Key: "COLOUR", Value: []byte("blau")}}
		c.WorkingDir = "/etc"
	})
	answer, err := c.TryExec(0, "print", "out", "+", "err", "wrong", "+", "exit", "42")
	h.Must(err)
	if answer.GetExitCode() != 42 || string(answer.GetStdout()) != "out\n" || string(answer.GetStderr()) != "wrong\n" {
		t.Errorf("got %v", answer)
	}
	if got := c.Exec("env COLOUR + cwd"); got != "blau\n/etc\n" {
		t.Errorf("environment and directory of an exec: %q", got)
	}
	answer, err = h.ExecSync(h.Ctx, &runtimeapi.ExecSyncRequest{ContainerId: c.ID, Cmd: []string{"probe", "print", "by PATH"}})
	h.Must(err)
	if string(answer.GetStdout()) != "by PATH\n" {
		t.Errorf("got %v", answer)
	}
	if got := c.Log().All(); got != "" {
		t.Errorf("an exec wrote into the container's log: %q", got)
	}
}

func TestExecOfWhatCannotRun(t *testing.T) {
	h := suite.Test(t)
	c := h.Pod().Start(harness.Say("sleep"))
	for command, code := range map[string]int32{"/no/such/program": 127, "no-such-program": 127, "/etc/note": 126} {
		answer, err := h.ExecSync(h.Ctx, &runtimeapi.ExecSyncRequest{ContainerId: c.ID, Cmd: []string{command}})
		switch {
		case err != nil && !strings.Contains(err.Error(), command):
			t.Errorf("exec of %s: the error does not name it: %v", command, err)
		case err == nil && answer.GetExitCode() != code:
			t.Errorf("exec of %s: exit code %d, want %d", command, answer.GetExitCode(), code)
		}
	}
	_, err := h.ExecSync(h.Ctx, &runtimeapi.ExecSyncRequest{ContainerId: c.ID})
	h.WantCode(err, codes.InvalidArgument, "cmd")
	c.Stop(0)
	if _, err := c.TryExec(0, "id"); err == nil {
		t.Error("an exec in a container that has exited")
	}
}

func TestExecTimeoutKillsAllThatItStarted(t *testing.T) {
	h := suite.Test(t)
	c := h.Pod().Start(harness.Say("sleep 5000s"))
	_, err := c.TryExec(time.Second, "ignore", "SIGTERM", "+", "sleep", "6000s")
	h.WantCode(err, codes.DeadlineExceeded, "timeout 1s exceeded") // not the test's own
	harness.Eventually(t, "the exec's process is gone", func() bool { return !strings.Contains(c.Exec("pids"), "6000s") })
	if got := c.Exec("pids"); !strings.Contains(got, "5000s") {
		t.Errorf("the container's own process is gone too:\n%s", got)
	}
}

func TestExecTimeoutKillsChildrenInOtherSessions(t *testing.T) {
	h := suite.Test(t)
	c := h.Pod().Start(harness.Say("sleep 5000s"))
	_, err := c.TryExec(time.Second, strings.Fields("spawn spawn sleep 7000s + sleep 6000s")...)
	h.WantCode(err, codes.DeadlineExceeded, "timeout 1s exceeded")
	harness.Eventually(t, "the exec's descendants are gone", func() bool {
		got := c.Exec("pids")
		return !strings.Contains(got, "6000s") && !strings.Contains(got, "sleep 7000s")
	})
}

// TestExecWithBackgroundChild is GHSA-7jxh-36q5-gcqv: a child that keeps the
// output open must not keep the call.
func TestExecWithBackgroundChild(t *testing.T) {
	h := suite.Test(t)
	c := h.Pod().Start(harness.Say("sleep"))
	// The call ends long before the child does, and before its own time is up.
	answer, err := c.TryExec(node.Patience(time.Minute), "print", "before", "+", "spawn", "sleep", "3000s")
	h.Must(err)
	if !strings.HasPrefix(string(answer.GetStdout()), "before\n") || answer.GetExitCode() != 0 {
		t.Errorf("got %v", answer)
	}
}

// TestExecOutputIsCapped is CVE-2022-1708 and CVE-2022-31030.
func TestExecOutputIsCapped(t *testing.T) {
	h := suite.Test(t)
	c := h.Pod().Start(harness.Say("sleep"))
	answer, err := c.TryExec(node.Patience(2*time.Minute), "bytes", "20000000", "+", "err", "the end")
	h.Must(err)
	if got := len(answer.GetStdout()); got != 16<<20 {
		t.Errorf("stdout has %d bytes, want %d", got, 16<<20)
	}
	if answer.GetExitCode() != 0 || string(answer.GetStderr()) != "the end\n" {
		t.Errorf("exit code %d, stderr %q", answer.GetExitCode(), answer.GetStderr())
	}
}

func TestExecIsCancelled(t *testing.T) {
	h := suite.Test(t)
	c := h.Pod().Start(harness.Say("sleep 5000s"))
	ctx, cancel := context.WithTimeout(h.Ctx, 300*time.Millisecond)
	defer cancel()
	if _, err := h.ExecSync(ctx, &runtimeapi.ExecSyncRequest{ContainerId: c.ID, Cmd: strings.Fields("/bin/probe sleep 6000s")}); err == nil {
		t.Error("a cancelled exec succeeded")
	}
	harness.Eventually(t, "the exec's process is gone", func() bool { return !strings.Contains(c.Exec("pids"), "6000s") })
}

func TestManyExecsAtOnce(t *testing.T) {
	h := suite.Test(t)
	c := h.Pod().Start(harness.Say("sleep"))
	const n = 40
	errs := make(chan error, n)
	for range n {
		go func() {
			_, err := c.TryExec(node.Patience(time.Minute), "print", "x")
			errs <- err
		}()
	}
	for range n {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
}
