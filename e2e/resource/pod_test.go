package resource

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/varve-cri/varve/e2e/harness"
)

// A pod that names no cgroup has one of varve's, limited to what its containers
// may use together and the overhead.
func TestPodsOwnCgroup(t *testing.T) {
	h := suite.Test(t)
	pod := h.Pod(func(c *runtimeapi.PodSandboxConfig) {
		c.Linux.Resources = &limits{CpuPeriod: 100000, CpuQuota: 40000, CpuShares: 512, MemoryLimitInBytes: 48 << 20}
		c.Linux.Overhead = &limits{CpuPeriod: 100000, CpuQuota: 10000, CpuShares: 128, MemoryLimitInBytes: 16 << 20}
	})
	check := func(when string, mib int, cpu string) {
		t.Helper()
		if m, q := pod.Limit(memory...), first(pod.Limit(quota...)); m != fmt.Sprint(mib<<20) || q != cpu {
			t.Errorf("%s: memory %s, quota %s; want %d MiB and %s", when, m, q, mib, cpu)
		}
	}
	check("new", 64, "50000")
	// It holds for all containers together, and each still has its own.
	c := pod.Start(harness.Say("alloc 200"))
	if got := c.WaitExit(); got.GetExitCode() != 137 {
		t.Errorf("a container beyond the pod's memory: %v", got)
	}
	below := pod.Start(harness.Say("sleep"))
	if got := below.Exec("open /dev/zero + print opened"); got != "opened\n" {
		t.Errorf("a device below a limited pod: %q", got)
	}
	h.Must(updatePod(h, pod, &limits{MemoryLimitInBytes: 80 << 20, CpuQuota: 60000}, nil))
	check("larger", 96, "70000")
	h.Kill(t)
	h.Restart(t)
	check("after a crash", 96, "70000")
	h.Must(updatePod(h, pod, &limits{MemoryLimitInBytes: 40 << 20}, &limits{MemoryLimitInBytes: 8 << 20}))
	check("smaller", 48, "70000")
	h.WantCode(updatePod(h, pod, &limits{MemoryLimitInBytes: 120 << 20, HugepageLimits: noPages}, nil), codes.FailedPrecondition, "hugetlb.16GB")
	check("refused", 48, "70000")
	answer, err := h.PodSandboxStatus(h.Ctx, &runtimeapi.PodSandboxStatusRequest{PodSandboxId: pod.ID, Verbose: true})
	h.Must(err)
	if info := answer.GetInfo()["info"]; !strings.Contains(info, `"memory_limit_in_bytes":41943040`) {
		t.Errorf("info: %s", info)
	}
	pod.Stop()
	h.WantCode(updatePod(h, pod, &limits{MemoryLimitInBytes: 80 << 20}, nil), codes.FailedPrecondition, pod.ID)
}

func TestPodBelowUse(t *testing.T) {
	h := suite.Test(t)
	pod := h.Pod(func(c *runtimeapi.PodSandboxConfig) { c.Linux.Resources = &limits{MemoryLimitInBytes: 128 << 20} })
	c := pod.Start(harness.Say("alloc 48 + sleep"))
	c.WaitLog("holding 48")
	h.WantCode(updatePod(h, pod, &limits{MemoryLimitInBytes: 32 << 20}, nil), codes.FailedPrecondition, "the limit 33554432 is below the ")
	if got := pod.Limit(memory...); got != fmt.Sprint(128<<20) {
		t.Errorf("memory limit is %s", got)
	}
	if got := c.Status().GetState(); got != runtimeapi.ContainerState_CONTAINER_RUNNING {
		t.Errorf("the container is %s", got)
	}
}

// The cgroup that a kubelet names is the kubelet's: what the requests say is
// checked and kept, and the group is left alone.
func TestKubeletsCgroup(t *testing.T) {
	h := suite.Test(t)
	parent := h.Node.CgroupParent + "/kubepods-of-resource"
	made := kubelet(t, parent)
	pod := h.Pod(func(c *runtimeapi.PodSandboxConfig) {
		c.Linux.CgroupParent = parent
		c.Linux.Resources = &limits{MemoryLimitInBytes: 64 << 20, CpuPeriod: 100000, CpuQuota: 20000}
	})
	pod.Start(harness.Say("sleep"))
	before := limitsOf(t, made)
	// As a kubelet of 1.37 sends them: an overhead taken off "no quota".
	h.Must(updatePod(h, pod, &limits{MemoryLimitInBytes: 96 << 20, CpuPeriod: 100000, CpuQuota: -10001}, &limits{CpuPeriod: 100000, CpuQuota: 10000}))
	h.WantCode(updatePod(h, pod, &limits{CpuPeriod: 7}, nil), codes.InvalidArgument, "resources.cpu_period")
	h.WantCode(updatePod(h, pod, nil, &limits{CpusetCpus: "x"}), codes.InvalidArgument, "overhead.cpuset_cpus")
	if after := limitsOf(t, made); after != before {
		t.Errorf("the group was changed from %s to %s", before, after)
	}
	answer, err := h.PodSandboxStatus(h.Ctx, &runtimeapi.PodSandboxStatusRequest{PodSandboxId: pod.ID, Verbose: true})
	h.Must(err)
	if info := answer.GetInfo()["info"]; !strings.Contains(info, `"memory_limit_in_bytes":100663296`) {
		t.Errorf("info: %s", info)
	}
	config := h.PodConfig(func(c *runtimeapi.PodSandboxConfig) {
		c.Linux.CgroupParent, c.Linux.Overhead = parent, &limits{CpuPeriod: 7}
	})
	_, err = h.RunPodSandbox(h.Ctx, &runtimeapi.RunPodSandboxRequest{Config: config})
	h.WantCode(err, codes.InvalidArgument, "config.linux.overhead.cpu_period")
	h.Must(h.RemovePod(h.Ctx, pod.ID))
}

// kubelet makes a group in all hierarchies, as a kubelet does, and removes it
// when the test ends.
func kubelet(t *testing.T, parent string) []string {
	t.Helper()
	entries, err := os.ReadDir("/sys/fs/cgroup")
	if err != nil {
		t.Fatal(err)
	}
	roots := []string{"/sys/fs/cgroup"}
	if !v2() {
		roots = nil
		for _, e := range entries {
			if info, err := os.Stat("/sys/fs/cgroup/" + e.Name() + "/cgroup.procs"); err == nil && !info.IsDir() {
				roots = append(roots, "/sys/fs/cgroup/"+e.Name())
			}
		}
	}
	var made []string
	for _, root := range roots {
		if err := os.MkdirAll(root+parent, 0o755); err != nil {
			t.Fatal(err)
		}
		made = append(made, root+parent)
	}
	t.Cleanup(func() {
		for _, dir := range made {
			if err := os.Remove(dir); err != nil && !os.IsNotExist(err) {
				t.Error(err)
			}
		}
	})
	return made
}

func limitsOf(t *testing.T, dirs []string) string {
	t.Helper()
	var b strings.Builder
	for _, dir := range dirs {
		for _, name := range append(append(memory[:2:2], quota...), shares...) {
			if body, err := os.ReadFile(dir + "/" + name); err == nil {
				fmt.Fprintf(&b, "%s %s", name, body)
			}
		}
	}
	if b.Len() == 0 {
		t.Fatal("the group has no limits")
	}
	return b.String()
}
