package lifecycle

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/varve-cri/varve/e2e/harness"
	"github.com/varve-cri/varve/e2e/testimage"
)

// How a container ends, as the kubelet and people read it.
func TestReasons(t *testing.T) {
	h := suite.Test(t)
	pod := h.Pod()
	limited := harness.Resources(&runtimeapi.LinuxContainerResources{MemoryLimitInBytes: 32 << 20})
	for _, tc := range []struct {
		what    string
		change  harness.Change
		code    int32
		reason  string
		message []string
	}{
		{"all is well", harness.Say("exit 0"), 0, "Completed", nil},
		{"its own code", harness.Say("exit 9"), 9, "Error", nil},
		{"a code that looks like a start's", harness.Say("exit 127"), 127, "Error", nil},
		{"killed by itself", harness.Say("kill 1 SIGKILL + spin 100ms"), 0, "Completed", nil}, // init is immune to its own signals
		{"out of memory", harness.Say("alloc 200"), 137, "OOMKilled", []string{"out of memory: its limit is 33554432 bytes"}},
		{"no such file", command("/no/such"), 127, "ContainerCannotRun", []string{"execute /no/such", "no such file"}},
		{"not in PATH", command("nonsense"), 127, "ContainerCannotRun", []string{"find command nonsense", "not in PATH"}},
		{"not executable", command("/etc/note"), 126, "ContainerCannotRun", []string{"execute /etc/note", "permission denied"}},
		{"a directory", command("/etc"), 126, "ContainerCannotRun", []string{"execute /etc", "is a directory"}},
		{"a working directory that is a file", func(c *runtimeapi.ContainerConfig) { c.WorkingDir = "/etc/note" }, 128, "StartError", []string{"/etc/note", "not a directory"}},
	} {
		change := []harness.Change{tc.change}
		if tc.reason == "OOMKilled" {
			change = append(change, limited)
		}
		c := pod.Create(change...)
		if err := c.TryStart(); (err != nil) != (tc.reason == "ContainerCannotRun" || tc.reason == "StartError") {
			t.Errorf("%s: start: %v", tc.what, err)
		}
		got := c.WaitExit()
		if got.GetExitCode() != tc.code || got.GetReason() != tc.reason {
			t.Errorf("%s: exit code %d, reason %s: %s", tc.what, got.GetExitCode(), got.GetReason(), got.GetMessage())
		}
		for _, word := range tc.message {
			if !strings.Contains(got.GetMessage(), word) {
				t.Errorf("%s: the message lacks %q: %s", tc.what, word, got.GetMessage())
			}
		}
		if tc.message == nil && got.GetMessage() != "" {
			t.Errorf("%s: message %q", tc.what, got.GetMessage())
		}
		if got.GetFinishedAt() == 0 || tc.message == nil && got.GetStartedAt() == 0 {
			t.Errorf("%s: started at %d, finished at %d", tc.what, got.GetStartedAt(), got.GetFinishedAt())
		}
		c.Remove()
	}
}

func command(args ...string) harness.Change {
	return func(c *runtimeapi.ContainerConfig) { c.Command, c.Args = args, nil }
}

// An exec that takes all the memory is not the end of the container; a child
// of the container that does is told when the container ends for it.
func TestOutOfMemoryOfAnExec(t *testing.T) {
	h := suite.Test(t)
	c := h.Pod().Start(harness.Say("sleep"), harness.Resources(&runtimeapi.LinuxContainerResources{MemoryLimitInBytes: 48 << 20}))
	answer, err := c.TryExec(0, "alloc", "200")
	h.Must(err)
	if answer.GetExitCode() != 137 {
		t.Errorf("exec: exit code %d", answer.GetExitCode())
	}
	if got := c.Status().GetState(); got != running {
		t.Errorf("state %s", got)
	}
	c.Stop(0)
	if got := c.Status(); got.GetReason() != "Error" || got.GetExitCode() != 137 {
		t.Errorf("a container that was stopped: exit code %d, reason %s", got.GetExitCode(), got.GetReason())
	}
}

// The memory that a pod has in all is a limit as any other.
func TestOutOfThePodsMemory(t *testing.T) {
	h := suite.Test(t)
	pod := h.Pod(func(c *runtimeapi.PodSandboxConfig) {
		c.Linux.Resources = &runtimeapi.LinuxContainerResources{MemoryLimitInBytes: 40 << 20, MemorySwapLimitInBytes: 40 << 20}
	})
	roomy := harness.Resources(&runtimeapi.LinuxContainerResources{MemoryLimitInBytes: 150 << 20})
	got := pod.Start(harness.Say("alloc 200"), roomy).WaitExit()
	if got.GetReason() != "OOMKilled" || got.GetExitCode() != 137 || !strings.Contains(got.GetMessage(), "the pod's") {
		t.Errorf("exit code %d, reason %s: %s", got.GetExitCode(), got.GetReason(), got.GetMessage())
	}
}

func TestCommandThatIsEmpty(t *testing.T) {
	h := suite.Test(t)
	pod := h.Pod()
	image, err := testimage.Build(testimage.Spec{Layers: [][]testimage.File{{{Name: "note", Body: t.Name()}}}})
	h.Must(err)
	ref := h.Push("no-command", image)
	_, err = pod.TryCreate(harness.Image(ref))
	h.WantCode(err, codes.InvalidArgument, "config.command", "entrypoint")
	_, err = pod.TryCreate(command(""))
	h.WantCode(err, codes.InvalidArgument, "config.command[0]", "is empty")
	_, err = pod.TryCreate(command("/bin/probe", "a\x00b"))
	h.WantCode(err, codes.InvalidArgument, "config.command", "NUL")
}

// A restarted container logs beside the one before it, by the attempt in its
// path; both are there at once.
func TestLogsOfRestarts(t *testing.T) {
	h := suite.Test(t)
	pod := h.Pod()
	var all []*harness.Container
	for attempt := range uint32(3) {
		c := pod.Start(harness.Say(fmt.Sprint("print attempt ", attempt)), func(c *runtimeapi.ContainerConfig) {
			c.Metadata.Name, c.Metadata.Attempt = "web", attempt
			c.LogPath = fmt.Sprintf("web/%d.log", attempt)
			c.Annotations = map[string]string{"io.kubernetes.container.restartCount": fmt.Sprint(attempt)}
		})
		c.WaitExit()
		all = append(all, c)
	}
	for attempt, c := range all {
		got := c.Status()
		if want := filepath.Join(pod.Config.LogDirectory, "web", fmt.Sprintf("%d.log", attempt)); got.GetLogPath() != want || c.LogFile != want {
			t.Errorf("log path %s, want %s", got.GetLogPath(), want)
		}
		if got := c.Log().Stdout(); got != fmt.Sprintf("attempt %d\n", attempt) {
			t.Errorf("log: %q", got)
		}
		if got.GetMetadata().GetAttempt() != uint32(attempt) || got.GetAnnotations()["io.kubernetes.container.restartCount"] != fmt.Sprint(attempt) {
			t.Errorf("metadata %v, annotations %v", got.GetMetadata(), got.GetAnnotations())
		}
	}
	// The log of one that is removed is the kubelet's to remove.
	all[0].Remove()
	if _, err := os.Stat(all[0].LogFile); err != nil {
		t.Error(err)
	}
}

// Annotations come back byte for byte, after a restart of the daemon too.
func TestAnnotations(t *testing.T) {
	h := suite.Test(t)
	odd := map[string]string{
		"": "no name", "a/ä \n": "\x01 \t\r\n \\ \" <&> \u2028 \U0001F40B", "trailing ": " spaces ", "json": `{"a": 1.0, "a": "\/"}`, "large": strings.Repeat("x", 100000),
	}
	pod := h.Pod(func(c *runtimeapi.PodSandboxConfig) { c.Annotations = odd })
	c := pod.Create(func(c *runtimeapi.ContainerConfig) { c.Annotations = odd })
	for _, when := range []string{"new", "after a restart"} {
		for what, got := range map[string]map[string]string{"pod": pod.Status().GetAnnotations(), "container": c.Status().GetAnnotations()} {
			if len(got) != len(odd) {
				t.Errorf("%s, %s: %d annotations", what, when, len(got))
			}
			for key, want := range odd {
				if got[key] != want {
					t.Errorf("%s, %s: %q is %.80q", what, when, key, got[key])
				}
			}
		}
		if when == "new" {
			h.Kill(t)
			h.Restart(t)
		}
	}
}
