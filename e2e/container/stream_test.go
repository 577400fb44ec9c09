package container

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/varve-cri/varve/e2e/harness"
)

func TestLogFormat(t *testing.T) {
	h := suite.Test(t)
	before := time.Now()
	c := h.Pod().Start(harness.Say("print to stdout + err to stderr + print + raw no newline at the end"))
	c.WaitExit()
	log := c.Log()
	if got := log.Stdout(); got != "to stdout\n\nno newline at the end" && got != "to stdout\n\nno newline at the end\n" {
		t.Errorf("stdout: %q", got)
	}
	if got := log.Stderr(); got != "to stderr\n" {
		t.Errorf("stderr: %q", got)
	}
	for _, line := range log {
		if line.Time.Before(before.Add(-time.Second)) || line.Time.After(time.Now()) {
			t.Errorf("time of a line is %s", line.Time)
		}
	}
	info, err := os.Stat(c.LogFile)
	h.Must(err)
	if info.Mode().Perm()&0o007 != 0 {
		t.Errorf("the log's mode is %s", info.Mode())
	}
	if got := c.Status().GetLogPath(); got != c.LogFile {
		t.Errorf("status tells the log path %q", got)
	}
}

func TestLongLinesArePartial(t *testing.T) {
	h := suite.Test(t)
	c := h.Pod().Start(harness.Say("bytes 50000 + print"))
	c.WaitExit()
	log := c.Log()
	if len(log) != 4 || log[0].Full || log[1].Full || log[2].Full || !log[3].Full || len(log[0].Text) != 16384 {
		t.Errorf("the log is %d lines, or they are cut at other places", len(log))
	}
	if got := log.Stdout(); got != strings.Repeat("x", 50000)+"\n" {
		t.Errorf("%d bytes came back", len(got))
	}
}

func TestNothingIsLostAtTheEnd(t *testing.T) {
	h := suite.Test(t)
	c := h.Pod().Start(harness.Say("lines 20000"))
	c.WaitExit()
	var want strings.Builder
	for i := range 20000 {
		fmt.Fprintln(&want, "line", i)
	}
	if got := c.Log().Stdout(); got != want.String() {
		t.Errorf("%d bytes of %d", len(got), want.Len())
	}
}

func TestLogRotation(t *testing.T) {
	h := suite.Test(t)
	c := h.Pod().Start(harness.Say("tick 2ms"))
	c.WaitLog("tick 10")
	rotated := c.LogFile + ".1"
	h.Must(os.Rename(c.LogFile, rotated))
	_, err := h.ReopenContainerLog(h.Ctx, &runtimeapi.ReopenContainerLogRequest{ContainerId: c.ID})
	h.Must(err)
	c.WaitLog("tick")
	c.Stop(0)
	var next int
	for _, line := range append(h.ReadLog(rotated), c.Log()...) {
		if line.Text != fmt.Sprint("tick ", next) {
			t.Fatalf("line %q where tick %d belongs", line.Text, next)
		}
		next++
	}
	// Of a container that has exited: an error, and no file (CRI).
	h.Must(os.Remove(c.LogFile))
	if _, err := h.ReopenContainerLog(h.Ctx, &runtimeapi.ReopenContainerLogRequest{ContainerId: c.ID}); err == nil {
		t.Error("the log of an exited container was reopened")
	}
	if _, err := os.Stat(c.LogFile); err == nil {
		t.Error("an error, and yet a new file")
	}
}

func TestLogDirectoryGone(t *testing.T) {
	h := suite.Test(t)
	pod := h.Pod()
	h.Must(os.RemoveAll(pod.Config.LogDirectory))
	h.Must(os.WriteFile(pod.Config.LogDirectory, nil, 0o600)) // it cannot be made again either
	c, err := pod.TryCreate(harness.Say("sleep"))
	if err == nil {
		err = c.TryStart()
	}
	if err == nil || !strings.Contains(err.Error(), pod.Config.LogDirectory) {
		t.Errorf("got %v", err)
	}
}

func TestNoLogPath(t *testing.T) {
	h := suite.Test(t)
	c := h.Pod().Start(harness.Say("lines 100000 + exit 3"), func(c *runtimeapi.ContainerConfig) { c.LogPath = "" })
	if got := c.WaitExit().GetExitCode(); got != 3 {
		t.Errorf("exit code %d", got)
	}
}

func TestStdinWithoutAnyoneIsEmpty(t *testing.T) {
	h := suite.Test(t)
	if got := h.Pod().Output(harness.Say("stdin + print end")); got != "end\n" {
		t.Errorf("got %q", got)
	}
}

func TestOpenStdinWaits(t *testing.T) {
	h := suite.Test(t)
	c := h.Pod().Start(harness.Say("print begin + stdin + print end"), func(c *runtimeapi.ContainerConfig) { c.Stdin = true })
	c.WaitLog("begin")
	time.Sleep(200 * time.Millisecond)
	if got := c.Status().GetState(); got != runtimeapi.ContainerState_CONTAINER_RUNNING {
		t.Errorf("a container that waits for its stdin is %s: %s", got, c.Log().All())
	}
}

func TestTTY(t *testing.T) {
	h := suite.Test(t)
	pod := h.Pod()
	c := pod.Start(harness.Say("tty + err on the same terminal"), func(c *runtimeapi.ContainerConfig) { c.Tty = true })
	c.WaitExit()
	got := strings.ReplaceAll(c.Log().Stdout(), "\r", "")
	if !strings.Contains(got, "0 yes") || !strings.Contains(got, "1 yes") || !strings.Contains(got, "2 yes") || !strings.Contains(got, "on the same terminal") {
		t.Errorf("output: %q", got)
	}
	c = pod.Start(harness.Say("sleep"), func(c *runtimeapi.ContainerConfig) { c.Tty = true })
	if got := c.Exec("stat /dev/console"); !strings.HasPrefix(got, "20") {
		t.Errorf("/dev/console: %s", got)
	}
	if got := pod.Output(harness.Say("tty")); strings.Contains(got, "yes") {
		t.Errorf("a terminal that nobody asked for: %s", got)
	}
}
