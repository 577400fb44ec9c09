package pod

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/varve-cri/varve/e2e/harness"
)

// spaces is the namespaces that a container sees, by name: "pid:[4026...]".
func spaces(text string) map[string]string {
	found := map[string]string{}
	for line := range strings.Lines(text) {
		if name, _, ok := strings.Cut(line, ":["); ok {
			found[name] = strings.TrimSpace(line)
		}
	}
	return found
}

func hostSpace(t *testing.T, name string) string {
	t.Helper()
	link, err := os.Readlink("/proc/self/ns/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return link
}

func TestNamespacesOfAPod(t *testing.T) {
	h := suite.Test(t)
	pod := h.Pod(harness.OwnNetwork)
	a, b := pod.Start(harness.Say("sleep")), pod.Start(harness.Say("sleep"))
	inA, inB := spaces(a.Exec("ns")), spaces(b.Exec("ns"))
	for name, shared := range map[string]bool{"net": true, "ipc": true, "uts": true, "pid": false, "mnt": false, "cgroup": false} {
		if (inA[name] == inB[name]) != shared {
			t.Errorf("%s: shared by the containers is %v, want %v", name, !shared, shared)
		}
		if inA[name] == hostSpace(t, name) {
			t.Errorf("%s is the host's", name)
		}
	}
	if inA["user"] != hostSpace(t, "user") {
		t.Errorf("user namespace is not the host's")
	}
}

func TestHostNamespaces(t *testing.T) {
	h := suite.Test(t)
	pod := h.Pod(func(c *runtimeapi.PodSandboxConfig) {
		o := c.Linux.SecurityContext.NamespaceOptions
		o.Ipc, o.Pid = runtimeapi.NamespaceMode_NODE, runtimeapi.NamespaceMode_NODE
	})
	c := pod.Start(harness.Say("sleep"))
	in := spaces(c.Exec("ns"))
	for _, name := range []string{"net", "ipc", "uts", "pid"} {
		if in[name] != hostSpace(t, name) {
			t.Errorf("%s is not the host's", name)
		}
	}
	if got := c.Exec("pids"); !strings.Contains(got, fmt.Sprintf("%d ", os.Getpid())) {
		t.Errorf("this test is not seen with the host's PIDs:\n%s", got)
	}
	c.Stop(0)
	if got := c.Status().GetExitCode(); got != 137 {
		t.Errorf("exit code after a kill is %d", got)
	}
}

func TestPIDModePod(t *testing.T) {
	h := suite.Test(t)
	pod := h.Pod(harness.SharedPID)
	a := pod.Start(harness.Say("sleep 1000s"))
	b := pod.Start(harness.Say("sleep 2000s"))
	for _, c := range []*harness.Container{a, b} {
		got := c.Exec("pids")
		if !strings.Contains(got, "sleep 1000s") || !strings.Contains(got, "sleep 2000s") {
			t.Errorf("not all processes of the pod are seen:\n%s", got)
		}
	}
	// The end of one container is not the end of the other.
	a.Stop(0)
	if got := b.Exec("pids"); strings.Contains(got, "sleep 1000s") || !strings.Contains(got, "sleep 2000s") {
		t.Errorf("after the end of one container:\n%s", got)
	}
}

func TestPIDModeContainer(t *testing.T) {
	h := suite.Test(t)
	pod := h.Pod()
	pod.Start(harness.Say("sleep 1000s"))
	if got := pod.Output(harness.Say("pids")); got != "1 /bin/probe pids\n" {
		t.Errorf("processes seen:\n%s", got)
	}
}

func TestPIDModeTarget(t *testing.T) {
	h := suite.Test(t)
	pod := h.Pod()
	target := pod.Start(harness.Say("sleep 1000s"))
	joins := func(id string) harness.Change {
		return harness.Security(func(s *runtimeapi.LinuxContainerSecurityContext) {
			s.NamespaceOptions = &runtimeapi.NamespaceOption{
				Network: runtimeapi.NamespaceMode_NODE, Pid: runtimeapi.NamespaceMode_TARGET, TargetId: id,
			}
		})
	}
	if got := pod.Output(harness.Say("pids"), joins(target.ID)); !strings.Contains(got, "1 /bin/probe sleep 1000s\n") {
		t.Errorf("the target is not seen:\n%s", got)
	}
	_, err := pod.TryCreate(joins("feedfeed"))
	h.WantCode(err, codes.InvalidArgument, "target")
}

func TestSysctls(t *testing.T) {
	h := suite.Test(t)
	pod := h.Pod(harness.OwnNetwork, func(c *runtimeapi.PodSandboxConfig) {
		c.Linux.Sysctls = map[string]string{"net.ipv4.ip_unprivileged_port_start": "99", "kernel.shm_rmid_forced": "1"}
	})
	got := pod.Output(harness.Say("cat /proc/sys/net/ipv4/ip_unprivileged_port_start /proc/sys/kernel/shm_rmid_forced"))
	if got != "99\n1\n" {
		t.Errorf("got %q", got)
	}
}

func TestCgroupParent(t *testing.T) {
	h := suite.Test(t)
	pod := h.Pod(func(c *runtimeapi.PodSandboxConfig) { c.Linux.CgroupParent = h.Node.CgroupParent + "/of-the-kubelet" })
	c := pod.Start(harness.Say("sleep"))
	found := false
	for _, item := range h.Node.Take() {
		found = found || strings.HasPrefix(item, "cgroup ") && strings.Contains(item, "/of-the-kubelet/") && strings.Contains(item, c.ID)
	}
	if !found {
		t.Errorf("no cgroup of container %s below the asked parent", c.ID)
	}
	h.Must(h.RemovePod(h.Ctx, pod.ID))
	removeGroups(t, h.Node.CgroupParent+"/of-the-kubelet")
}

// removeGroups removes what the kubelet would: a parent that CRI names is not
// the runtime's to remove. As the kubelet does, it tries again what is busy.
func removeGroups(t *testing.T, parent string) {
	t.Helper()
	entries, err := os.ReadDir("/sys/fs/cgroup")
	if err != nil {
		t.Fatal(err)
	}
	groups := []string{"/sys/fs/cgroup" + parent} // on a pure v2 host
	for _, e := range entries {
		groups = append(groups, "/sys/fs/cgroup/"+e.Name()+parent)
	}
	harness.Eventually(t, parent+" is removed", func() bool {
		groups = slices.DeleteFunc(groups, func(group string) bool {
			return !errors.Is(os.Remove(group), unix.EBUSY) // not every hierarchy has it
		})
		return len(groups) == 0
	})
}
