package inside

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/varve-cri/varve/e2e/harness"
)

// A container's processes are in its group from the first instruction on, and
// see it as the root; those of an exec are in one below.
func TestMembership(t *testing.T) {
	h := suite.Test(t)
	c := h.Pod().Start(harness.Say("cat /proc/self/cgroup + spawn sleep + sleep"))
	c.WaitLog("spawned")
	if got := c.Log().Stdout(); !strings.HasPrefix(got, "0::/\n") {
		t.Errorf("the first process is in %s", got)
	}
	if got := c.Exec("cat /proc/self/cgroup"); !strings.HasPrefix(got, "0::/") || strings.Contains(got, "..") {
		t.Errorf("an exec is in %s", got)
	}
	// Its own limits are what it sees of the machine's groups, and it cannot write them.
	c = h.Pod().Start(harness.Say("sleep"), harness.Resources(&limits{MemoryLimitInBytes: 48 << 20}))
	if got := c.Exec("cat /sys/fs/cgroup/memory.max"); got != fmt.Sprintln(48<<20) {
		t.Errorf("the container's own limit reads %s", got)
	}
	if answer, err := c.TryExec(0, "write", "/sys/fs/cgroup/memory.max", "max"); err == nil && answer.GetExitCode() == 0 {
		t.Error("the container can lift its own limit")
	}
	body, err := os.ReadFile(filepath.Join(root, h.Node.CgroupParent, "cgroup.subtree_control"))
	h.Must(err)
	have, err := os.ReadFile(root + "/cgroup.controllers")
	h.Must(err)
	if strings.TrimSpace(string(body)) != strings.TrimSpace(string(have)) {
		t.Errorf("groups below varve's have %s of the machine's %s", body, have)
	}
}

// A container that does not want to end, and whose children have left its
// session: cgroup.kill takes all of them.
func TestKillTakesAll(t *testing.T) {
	h := suite.Test(t)
	c := h.Pod().Start(harness.Say("ignore SIGTERM + spawn sleep + spawn sleep + spawn sleep + sleep"))
	harness.Eventually(t, "three children", func() bool { return strings.Count(c.Log().All(), "spawned") == 3 })
	c.Exec("spawn sleep")
	c.Stop(0)
	if got := c.WaitExit().GetExitCode(); got != 137 {
		t.Errorf("exit code %d", got)
	}
	c.Remove()
}

// The tree that a kubelet with cgroup v2 makes: nested groups, controllers
// enabled by it all the way down to the pod. The pod's limit holds for its
// containers; the groups are the kubelet's afterwards as before.
func TestKubeletsTree(t *testing.T) {
	h := suite.Test(t)
	top := h.Node.CgroupParent + "/kubepods"
	parent := top + "/burstable/pod0f"
	t.Cleanup(func() {
		for dir := parent; dir != h.Node.CgroupParent; dir = filepath.Dir(dir) {
			if err := os.Remove(root + dir); err != nil {
				t.Error(err)
			}
		}
	})
	for dir := h.Node.CgroupParent; ; {
		h.Must(os.MkdirAll(root+dir, 0o755))
		if dir == parent {
			break
		}
		h.Must(os.WriteFile(root+dir+"/cgroup.subtree_control", []byte("+cpu +memory +pids"), 0))
		rest := strings.TrimPrefix(parent, dir+"/")
		name, _, _ := strings.Cut(rest, "/")
		dir += "/" + name
	}
	h.Must(os.WriteFile(root+parent+"/memory.max", []byte(fmt.Sprint(48<<20)), 0))
	pod := h.Pod(harness.SharedPID, func(c *runtimeapi.PodSandboxConfig) { c.Linux.CgroupParent = parent })
	c := pod.Start(harness.Say("alloc 300"))
	if got := c.WaitExit(); got.GetExitCode() != 137 {
		t.Errorf("a container without a limit in a pod with one: %v", got)
	}
	c = pod.Start(harness.Say("sleep"), harness.Resources(&limits{MemoryLimitInBytes: 32 << 20, CpuShares: 512}))
	if got := c.Limit("memory.max"); got != fmt.Sprint(32<<20) {
		t.Errorf("memory.max is %s", got)
	}
	if there(root + parent + "/cgroup.procs") {
		body, err := os.ReadFile(root + parent + "/cgroup.procs")
		h.Must(err)
		if len(body) > 0 {
			t.Errorf("processes in the pod's own group: %s", body)
		}
	}
	h.Must(h.RemovePod(h.Ctx, pod.ID))
	if entries, err := filepath.Glob(root + parent + "/*/cgroup.procs"); err != nil || len(entries) > 0 {
		t.Errorf("left in the kubelet's group: %v, %v", entries, err)
	}
}

// Pressure is told where the kernel keeps it, and is not made up elsewhere.
func TestPressure(t *testing.T) {
	h := suite.Test(t)
	want := there("/proc/pressure/cpu")
	pod := h.Pod()
	c := pod.Start(harness.Say("spin 200ms + print done + sleep"))
	c.WaitLog("done")
	s := stats(h, c)
	answer, err := h.PodSandboxStats(h.Ctx, &runtimeapi.PodSandboxStatsRequest{PodSandboxId: pod.ID})
	h.Must(err)
	p := answer.GetStats().GetLinux()
	for name, got := range map[string]*runtimeapi.PsiStats{
		"container cpu": s.GetCpu().GetPsi(), "container memory": s.GetMemory().GetPsi(), "container io": s.GetIo().GetPsi(),
		"pod cpu": p.GetCpu().GetPsi(), "pod memory": p.GetMemory().GetPsi(), "pod io": p.GetIo().GetPsi(),
	} {
		if (got != nil) != want || want && (got.GetSome() == nil || got.GetFull() == nil) {
			t.Errorf("%s: %v, although the kernel keeps pressure: %v", name, got, want)
		}
	}
	if s.GetCpu().GetUsageCoreNanoSeconds().GetValue() < 150e6 || s.GetMemory().GetWorkingSetBytes().GetValue() == 0 || s.GetMemory().GetRssBytes().GetValue() == 0 {
		t.Errorf("use: %v %v", s.GetCpu(), s.GetMemory())
	}
}

// A container that divides its own group among groups of its own, as a systemd
// or another container runtime in it does: execs, statistics and the end are as
// with any other.
func TestGroupsOfItsOwn(t *testing.T) {
	h := suite.Test(t)
	c := h.Pod().Start(harness.Say("alloc 8 + sleep"))
	c.WaitLog("holding")
	procs, err := filepath.Glob(root + h.Node.CgroupParent + "/*/" + c.ID + "/cgroup.procs")
	if err != nil || len(procs) != 1 {
		t.Fatalf("%v, %v", procs, err)
	}
	pid, err := os.ReadFile(procs[0])
	h.Must(err)
	group := filepath.Dir(procs[0])
	h.Must(os.Mkdir(group+"/leaf", 0o755))
	h.Must(os.WriteFile(group+"/leaf/cgroup.procs", pid, 0))
	h.Must(os.WriteFile(group+"/cgroup.subtree_control", []byte("+memory +pids"), 0))
	if got := c.Exec("cat /proc/1/cgroup"); got != "0::/leaf\n" {
		t.Errorf("the first process is in %s", got)
	}
	if got := stats(h, c).GetMemory().GetWorkingSetBytes().GetValue(); got < 8<<20 {
		t.Errorf("memory in use: %d", got)
	}
	h.Kill(t)
	h.Restart(t)
	c.Exec("print again")
	c.Stop(0)
	if got := c.WaitExit().GetExitCode(); got != 137 {
		t.Errorf("exit code %d", got)
	}
	c.Remove()
}

// A privileged container has the host's groups, and the paths in its
// /proc/self/cgroup are those below its /sys/fs/cgroup.
func TestPrivilegedSeesTheHostsGroups(t *testing.T) {
	h := suite.Test(t)
	pod := h.Pod(func(c *runtimeapi.PodSandboxConfig) { c.Linux.SecurityContext.Privileged = true })
	c := pod.Start(harness.Say("sleep"), harness.Security(func(s *runtimeapi.LinuxContainerSecurityContext) { s.Privileged = true }))
	path, ok := strings.CutPrefix(strings.TrimSpace(c.Exec("cat /proc/1/cgroup")), "0::")
	if !ok || filepath.Base(path) != c.ID {
		t.Fatalf("the container is in %s", path)
	}
	if got := c.Exec("cat " + root + path + "/cgroup.procs"); got != "1\n" {
		t.Errorf("processes of its group: %s", got)
	}
}
