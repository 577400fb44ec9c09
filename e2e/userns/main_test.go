package userns

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/varve-cri/varve/e2e/harness"
)

var suite *harness.Suite

func TestMain(m *testing.M) { harness.Main(m, &suite) }

type securityContext = runtimeapi.LinuxContainerSecurityContext

func ids(host, length uint32) []*runtimeapi.IDMapping {
	return []*runtimeapi.IDMapping{{HostId: host, Length: length}}
}

// from gives the pod a user namespace whose root is this user of the host, and
// the group 50,000 above.
func from(first uint32) harness.PodChange {
	return func(c *runtimeapi.PodSandboxConfig) {
		c.Linux.SecurityContext.NamespaceOptions.UsernsOptions = &runtimeapi.UserNamespace{
			Mode: runtimeapi.NamespaceMode_POD, Uids: ids(first, 40000), Gids: ids(first+50000, 40000),
		}
	}
}

func volume(host, target string, mapped uint32) harness.Change {
	m := &runtimeapi.Mount{HostPath: host, ContainerPath: target}
	if mapped != 0 {
		m.UidMappings, m.GidMappings = ids(mapped, 40000), ids(mapped+50000, 40000)
	}
	return func(c *runtimeapi.ContainerConfig) { c.Mounts = append(c.Mounts, m) }
}

// hostPID is the process id of a container's first process.
func hostPID(h *harness.Test, c *harness.Container) string {
	h.T.Helper()
	answer, err := h.ContainerStatus(h.Ctx, &runtimeapi.ContainerStatusRequest{ContainerId: c.ID, Verbose: true})
	h.Must(err)
	_, rest, _ := strings.Cut(answer.GetInfo()["info"], `"pid":`)
	number, _, _ := strings.Cut(rest, ",")
	if _, err := strconv.Atoi(number); err != nil {
		h.T.Fatalf("no pid in %v", answer.GetInfo())
	}
	return number
}

// onHost reads a file of a container's first process.
func onHost(h *harness.Test, c *harness.Container, file string) string {
	h.T.Helper()
	text, err := os.ReadFile("/proc/" + hostPID(h, c) + "/" + file)
	h.Must(err)
	return string(text)
}

// field is a line of /proc/PID/status.
func field(status, name string) string {
	_, rest, _ := strings.Cut(status, name+":\t")
	line, _, _ := strings.Cut(rest, "\n")
	return line
}

func words(text string) string { return strings.Join(strings.Fields(text), " ") }

// fails runs a line of the probe's commands that must not work.
func fails(t *testing.T, c *harness.Container, line, why string) {
	t.Helper()
	answer, err := c.TryExec(0, strings.Fields(line)...)
	if err != nil {
		t.Errorf("%s: %v", line, err)
	} else if answer.GetExitCode() == 0 || !strings.Contains(string(answer.GetStderr()), why) {
		t.Errorf("%s: exit code %d, %s; want %s", line, answer.GetExitCode(), answer.GetStderr(), why)
	}
}

func owner(t *testing.T, file string, uid, gid uint32) {
	t.Helper()
	info, err := os.Lstat(file)
	if err != nil {
		t.Error(err)
		return
	}
	if got := fmt.Sprint(ownerOf(info)); got != fmt.Sprint([2]uint32{uid, gid}) {
		t.Errorf("%s belongs to %s, want [%d %d]", file, got, uid, gid)
	}
}
