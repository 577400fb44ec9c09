package container

import (
	"os"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"google.golang.org/grpc/codes"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/varve-cri/varve/e2e/harness"
	"github.com/varve-cri/varve/e2e/node"
	"github.com/varve-cri/varve/e2e/testimage"
)

func TestExitCodesAndReasons(t *testing.T) {
	h := suite.Test(t)
	pod := h.Pod()
	for line, want := range map[string]struct {
		code   int32
		reason string
	}{
		"exit 0":                    {0, "Completed"},
		"exit 7":                    {7, "Error"},
		"exit 255":                  {255, "Error"},
		"spawn sleep 100s + exit 3": {3, "Error"},
	} {
		before := time.Now()
		c := pod.Start(harness.Say(line))
		status := c.WaitExit()
		if status.GetExitCode() != want.code || status.GetReason() != want.reason {
			t.Errorf("%s: exit code %d, reason %s", line, status.GetExitCode(), status.GetReason())
		}
		if at := time.Unix(0, status.GetFinishedAt()); at.Before(before) || at.After(time.Now()) || status.GetFinishedAt() < status.GetStartedAt() {
			t.Errorf("%s: finished at %s, started at %s", line, at, time.Unix(0, status.GetStartedAt()))
		}
	}
}

func TestStopSignalAndGracePeriod(t *testing.T) {
	h := suite.Test(t)
	pod := h.Pod()
	polite := pod.Start(harness.Say("trap SIGTERM 5"))
	polite.WaitLog("waiting")
	polite.Stop(time.Minute)
	if got := polite.Status().GetExitCode(); got != 5 {
		t.Errorf("polite: exit code %d", got)
	}

	stubborn := pod.Start(harness.Say("ignore SIGTERM + print deaf + sleep"))
	stubborn.WaitLog("deaf")
	start := time.Now()
	stubborn.Stop(time.Second) // it never ends by itself
	if took := time.Since(start); took < 900*time.Millisecond || took > node.Patience(30*time.Second) {
		t.Errorf("stubborn: took %s of a grace period of 1s", took)
	}
	if got := stubborn.Status().GetExitCode(); got != 137 {
		t.Errorf("stubborn: exit code %d", got)
	}

	image := h.Image("stop-signal", v1.Config{StopSignal: "SIGUSR1"})
	byImage := pod.Start(harness.Image(image), harness.Say("trap SIGUSR1 6"))
	byImage.WaitLog("waiting")
	byImage.Stop(time.Minute)
	if got := byImage.Status(); got.GetExitCode() != 6 || got.GetStopSignal() != runtimeapi.Signal_SIGNAL_SIGUSR1 {
		t.Errorf("by the image: exit code %d, signal %s", got.GetExitCode(), got.GetStopSignal())
	}

	byRequest := pod.Start(harness.Image(image), harness.Say("trap SIGUSR2 8"),
		func(c *runtimeapi.ContainerConfig) { c.StopSignal = runtimeapi.Signal_SIGNAL_SIGUSR2 })
	byRequest.WaitLog("waiting")
	byRequest.Stop(time.Minute)
	if got := byRequest.Status().GetExitCode(); got != 8 {
		t.Errorf("by the request: exit code %d", got)
	}
}

func TestCommandOfImageAndRequest(t *testing.T) {
	h := suite.Test(t)
	pod := h.Pod()
	image := h.Image("command", v1.Config{
		Entrypoint: []string{"/bin/probe", "print", "entrypoint"}, Cmd: []string{"cmd"},
		Env: []string{"PATH=/bin", "A=image", "B=image"}, WorkingDir: "/made/by/the/runtime",
	})
	set := func(command, args []string) harness.Change {
		return func(c *runtimeapi.ContainerConfig) {
			c.Image.Image, c.Command, c.Args = image, command, args
			c.Envs = []*runtimeapi.KeyValue{{Key: "B", Value: []byte("request")}}
		}
	}
	for want, change := range map[string]harness.Change{
		"entrypoint cmd\n":                       set(nil, nil),
		"entrypoint args\n":                      set(nil, []string{"args"}),
		"command\n":                              set([]string{"probe", "print", "command"}, nil),
		"both\n":                                 set([]string{"probe"}, []string{"print", "both"}),
		"image\nrequest\n/made/by/the/runtime\n": set([]string{"probe"}, strings.Fields("env A + env B + cwd")),
	} {
		if got := pod.Output(change); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// TestCommandThatCannotStart: exit code 127 or 126 and a message that names the
// program, as a shell would say it.
func TestCommandThatCannotStart(t *testing.T) {
	h := suite.Test(t)
	pod := h.Pod()
	for command, code := range map[string]int32{"/no/such/program": 127, "no-such-program": 127, "/etc/note": 126} {
		c := pod.Create(func(c *runtimeapi.ContainerConfig) { c.Command = []string{command} })
		err := c.TryStart()
		if err == nil || !strings.Contains(err.Error(), command) {
			t.Errorf("start of %s: %v", command, err)
		}
		status := c.WaitExit()
		if status.GetExitCode() != code || status.GetReason() != "ContainerCannotRun" {
			t.Errorf("%s: exit code %d, reason %s", command, status.GetExitCode(), status.GetReason())
		}
		if !strings.Contains(status.GetMessage(), command) {
			t.Errorf("%s: message %q", command, status.GetMessage())
		}
	}
}

func TestInvalidContainers(t *testing.T) {
	h := suite.Test(t)
	pod := h.Pod()
	for name, tc := range map[string]struct {
		change harness.Change
		words  string
	}{
		"no metadata":   {func(c *runtimeapi.ContainerConfig) { c.Metadata = nil }, "metadata"},
		"no image":      {func(c *runtimeapi.ContainerConfig) { c.Image = nil }, "image"},
		"relative path": {mount(&runtimeapi.Mount{HostPath: "/tmp", ContainerPath: "relative"}), "relative"},
		"log path":      {func(c *runtimeapi.ContainerConfig) { c.LogPath = "../../escape.log" }, "log_path"},
	} {
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
			_, err := pod.TryCreate(tc.change)
			h.For(t).WantCode(err, codes.InvalidArgument, tc.words)
		})
	}
	_, err := pod.TryCreate(harness.Image("registry.test/never-pulled:1"))
	h.WantCode(err, codes.NotFound, "never-pulled")
}

// TestWorkingDirectoryIsAFile starts nothing and says which path is wrong.
func TestWorkingDirectoryIsAFile(t *testing.T) {
	h := suite.Test(t)
	pod := h.Pod()
	c, err := pod.TryCreate(harness.Say("sleep"), func(c *runtimeapi.ContainerConfig) { c.WorkingDir = "/etc/note" })
	if err == nil {
		err = c.TryStart()
	}
	if err == nil || !strings.Contains(err.Error(), "/etc/note") {
		t.Errorf("got %v", err)
	}
}

// TestImageWithoutRoot has a config and no layer: no program can be in it.
func TestImageWithoutRoot(t *testing.T) {
	h := suite.Test(t)
	image, err := testimage.Build(testimage.Spec{Config: v1.Config{Entrypoint: []string{"/bin/x"}}})
	h.Must(err)
	h.Must(h.Registry.Push("no-root:1", image))
	ref := "registry.test/no-root:1"
	if err := h.Pull(h.Ctx, ref); err != nil {
		if !strings.Contains(err.Error(), "no-root") {
			t.Errorf("the error does not name the image: %v", err)
		}
		return
	}
	defer h.RemoveImage(h.Ctx, &runtimeapi.RemoveImageRequest{Image: &runtimeapi.ImageSpec{Image: ref}}) //nolint:errcheck // the last test of the image
	pod := h.Pod()
	c, err := pod.TryCreate(harness.Image(ref))
	if err == nil {
		err = c.TryStart()
	}
	if err == nil {
		t.Error("a container of an image without any file started")
	}
	h.Must(h.RemovePod(h.Ctx, pod.ID))
}

// A client whose first answer was lost asks again; a container that has exited
// does not start a second time.
func TestStartTwice(t *testing.T) {
	h := suite.Test(t)
	c := h.Pod().Start(harness.Say("sleep"))
	before := c.Status()
	h.Must(c.TryStart())
	if got := c.Status(); got.GetState() != runtimeapi.ContainerState_CONTAINER_RUNNING || got.GetStartedAt() != before.GetStartedAt() {
		t.Errorf("before %v, after %v", before, got)
	}
	c.Stop(0)
	h.WantCode(c.TryStart(), codes.FailedPrecondition, "Exited")
}

func TestVolumesOfTheImageNeedNoHostPath(t *testing.T) {
	h := suite.Test(t)
	image := h.Image("volume", v1.Config{Volumes: map[string]struct{}{"/data": {}}},
		testimage.Dir("data"), testimage.File{Name: "data/seed", Body: "from the image"})
	c := h.Pod().Start(harness.Image(image), harness.Say("sleep"))
	c.Exec("write /data/x 1")
	if _, err := os.Stat("/data"); err == nil {
		t.Error("/data appeared on the host")
	}
}
