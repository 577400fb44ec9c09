package inside

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/varve-cri/varve/e2e/harness"
	"github.com/varve-cri/varve/e2e/node"
)

// value is a line "key N" of a container's cgroup file.
func value(t *testing.T, text, key string) int {
	t.Helper()
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(line, key+" "); ok {
			n, err := strconv.Atoi(strings.TrimSpace(rest))
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Fatalf("no %s in:\n%s", key, text)
	return 0
}

func TestQuotaHoldsBack(t *testing.T) {
	h := suite.Test(t)
	begin := time.Now()
	c := h.Pod().Start(harness.Say("spin 1s + print done + sleep"), harness.Resources(&limits{CpuPeriod: 100000, CpuQuota: 20000}))
	harness.Eventually(t, "a second of a fifth of a processor is over", func() bool { return strings.Contains(c.Log().All(), "done") })
	if took := time.Since(begin); took < 4*time.Second {
		t.Errorf("a second at 20 percent took %s", took)
	}
	if text := c.Limit("cpu.stat"); value(t, text, "nr_throttled") < 10 || value(t, text, "throttled_usec") < 1e6 {
		t.Errorf("cpu.stat:\n%s", text)
	}
}

func TestTasksAreCounted(t *testing.T) {
	h := suite.Test(t)
	pod := h.Pod()
	c := pod.Start(harness.Say(strings.Repeat("spawn sleep + ", 12)+"print all"), harness.Resources(&limits{Unified: map[string]string{"pids.max": "12"}}))
	status, said := c.WaitExit(), c.Log().All()
	if status.GetExitCode() == 0 || strings.Contains(said, "\nall\n") {
		t.Errorf("twelve processes more with a limit of 12: %s", said)
	}
	// The limit counts threads, too: what runs into it is a fork or the Go runtime.
	if !strings.Contains(said, "resource temporarily unavailable") && !strings.Contains(said, "errno=11") {
		t.Errorf("it was not the limit: %s", said)
	}
	pod.Start(harness.Say("sleep"))
	pods, err := h.PodSandboxStats(h.Ctx, &runtimeapi.PodSandboxStatsRequest{PodSandboxId: pod.ID})
	h.Must(err)
	if got := pods.GetStats().GetLinux().GetProcess().GetProcessCount().GetValue(); got == 0 || got > 50 {
		t.Errorf("the pod has %d processes", got)
	}
}

// Out of memory with one process of several: the killed one is a child, and
// the container goes on unless the whole group is taken (memory.oom.group).
func TestOutOfMemory(t *testing.T) {
	h := suite.Test(t)
	pod := h.Pod()
	small := harness.Resources(&limits{MemoryLimitInBytes: 40 << 20})
	c := pod.Start(harness.Say("alloc 200"), small)
	if got := c.WaitExit(); got.GetReason() != "OOMKilled" || got.GetExitCode() != 137 {
		t.Errorf("reason %s, exit code %d", got.GetReason(), got.GetExitCode())
	}
	c = pod.Start(harness.Say("sleep"), harness.Resources(&limits{MemoryLimitInBytes: 40 << 20, Unified: map[string]string{"memory.oom.group": "1"}}))
	_, _ = c.TryExec(node.Patience(time.Minute), "alloc", "200") // killed with all the others
	if got := c.WaitExit(); got.GetReason() != "OOMKilled" || got.GetExitCode() != 137 {
		t.Errorf("memory.oom.group: reason %s, exit code %d", got.GetReason(), got.GetExitCode())
	}
}

// An exit while no daemon ran is told with its reason afterwards.
func TestOutOfMemoryWithoutADaemon(t *testing.T) {
	h := suite.Test(t)
	gate := t.TempDir()
	c := h.Pod().Start(harness.Say("await /gate/open + alloc 200"), harness.Resources(&limits{MemoryLimitInBytes: 40 << 20}),
		func(c *runtimeapi.ContainerConfig) {
			c.Mounts = []*runtimeapi.Mount{{HostPath: gate, ContainerPath: "/gate"}}
		})
	group := h.Node.CgroupParent
	h.Kill(t)
	h.Must(os.WriteFile(gate+"/open", nil, 0o600))
	harness.Eventually(t, "the container's group is empty", func() bool {
		files, err := filepath.Glob(root + group + "/*/" + c.ID + "/cgroup.events")
		h.Must(err)
		if len(files) != 1 {
			t.Fatalf("the groups of %s are %v", c.ID, files)
		}
		text, err := os.ReadFile(files[0])
		return err != nil || strings.Contains(string(text), "populated 0")
	})
	h.Restart(t)
	if got := c.WaitExit(); got.GetReason() != "OOMKilled" || got.GetExitCode() != 137 {
		t.Errorf("reason %s, exit code %d", got.GetReason(), got.GetExitCode())
	}
}

func TestMemoryHighSlowsDown(t *testing.T) {
	withSwap(t)
	h := suite.Test(t)
	c := h.Pod().Start(harness.Say("alloc 40 + sleep"), harness.Resources(&limits{
		MemoryLimitInBytes: 64 << 20, MemorySwapLimitInBytes: 128 << 20, Unified: map[string]string{"memory.high": strconv.Itoa(24 << 20), "memory.min": strconv.Itoa(8 << 20)},
	}))
	c.WaitLog("holding 40")
	if got := value(t, c.Limit("memory.events"), "high"); got == 0 {
		t.Error("memory.high has held nothing back")
	}
	if got := c.Limit("memory.min"); got != strconv.Itoa(8<<20) {
		t.Errorf("memory.min is %s", got)
	}
}

// Swap beside memory is used, counted, and limited.
func TestSwapIsUsed(t *testing.T) {
	withSwap(t)
	h := suite.Test(t)
	pod := h.Pod()
	some := harness.Resources(&limits{MemoryLimitInBytes: 32 << 20, MemorySwapLimitInBytes: 96 << 20})
	c := pod.Start(harness.Say("alloc 60 + sleep"), some)
	c.WaitLog("holding 60")
	s := stats(h, c)
	if got := s.GetSwap().GetSwapUsageBytes().GetValue(); got < 20<<20 || got > 64<<20 {
		t.Errorf("swap in use: %d", got)
	}
	if got := s.GetSwap().GetSwapAvailableBytes().GetValue(); got == 0 || got > 44<<20 {
		t.Errorf("swap that is left: %d", got)
	}
	if got := s.GetMemory().GetUsageBytes().GetValue(); got > 32<<20 {
		t.Errorf("memory in use: %d", got)
	}
	c = pod.Start(harness.Say("alloc 200"), some)
	if got := c.WaitExit(); got.GetReason() != "OOMKilled" {
		t.Errorf("beyond memory and swap: %s", got.GetReason())
	}
}

// A pod's limit of memory holds for a container that has none of its own: it is
// not swapped without end. One that was given swap has it.
func TestPodIsNotSwappedWithoutEnd(t *testing.T) {
	withSwap(t)
	h := suite.Test(t)
	pod := h.Pod(func(c *runtimeapi.PodSandboxConfig) { c.Linux.Resources = &limits{MemoryLimitInBytes: 48 << 20} })
	c := pod.Start(harness.Say("alloc 80"))
	if got := c.WaitExit(); got.GetReason() != "OOMKilled" {
		t.Errorf("80 MiB in a pod of 48: %s", got.GetReason())
	}
	c = pod.Start(harness.Say("alloc 60 + sleep"), harness.Resources(&limits{MemoryLimitInBytes: 32 << 20, MemorySwapLimitInBytes: 96 << 20}))
	c.WaitLog("holding 60")
	if got := stats(h, c).GetSwap().GetSwapUsageBytes().GetValue(); got < 20<<20 {
		t.Errorf("swap in use: %d", got)
	}
}

// Huge pages are there for whom they were asked for, and none above the limit.
// A kernel without them has no controller either, and says so.
func TestHugePages(t *testing.T) {
	h := suite.Test(t)
	pod := h.Pod()
	two := harness.Resources(&limits{HugepageLimits: []*runtimeapi.HugepageLimit{{PageSize: "2MB", Limit: 4 << 20}}})
	if !there("/sys/kernel/mm/hugepages/hugepages-2048kB") {
		c := pod.Create(harness.Say("sleep"), two)
		h.WantCode(c.TryStart(), codes.FailedPrecondition, "hugetlb")
		return
	}
	c := pod.Start(harness.Say("sleep"), two)
	if got := c.Exec("hugepages 2"); got != "holding 2\n" {
		t.Errorf("two pages of two: %q", got)
	}
	answer, err := c.TryExec(0, "hugepages", "3")
	h.Must(err)
	if answer.GetExitCode() == 0 {
		t.Error("three pages of two")
	}
}

// The kubelet's answer to a resize that does not fit must come before the
// kernel's, which is a kill.
func TestResizeBelowUse(t *testing.T) {
	h := suite.Test(t)
	c := h.Pod().Start(harness.Say("alloc 48 + sleep"), harness.Resources(&limits{MemoryLimitInBytes: 128 << 20}))
	c.WaitLog("holding 48")
	_, err := h.UpdateContainerResources(h.Ctx, &runtimeapi.UpdateContainerResourcesRequest{
		ContainerId: c.ID, Linux: &limits{MemoryLimitInBytes: 32 << 20},
	})
	h.WantCode(err, codes.FailedPrecondition, "33554432")
	if got := c.Limit("memory.max"); got != strconv.Itoa(128<<20) {
		t.Errorf("memory.max is %s", got)
	}
	if got := c.Status().GetState(); got != runtimeapi.ContainerState_CONTAINER_RUNNING {
		t.Errorf("the container is %s", got)
	}
}

// What a container writes to a volume is counted as its own, although the
// kernel does it later, and is held back by its limit.
func TestWritesAreHeldBack(t *testing.T) {
	h := suite.Test(t)
	var st unix.Stat_t
	h.Must(unix.Stat(h.Dir, &st))
	disk := fmt.Sprintf("%d:%d", unix.Major(st.Dev), unix.Minor(st.Dev))
	c := h.Pod().Start(harness.Say("sleep"), harness.Resources(&limits{Unified: map[string]string{"io.max": disk + " wbps=2097152"}}),
		func(c *runtimeapi.ContainerConfig) {
			c.Mounts = []*runtimeapi.Mount{{HostPath: t.TempDir(), ContainerPath: "/volume"}}
		})
	begin := time.Now()
	c.Exec("fill /volume/data 8 + sync /volume/data")
	if took := time.Since(begin); took < 3*time.Second {
		t.Errorf("8 MiB at 2 MiB a second took %s", took)
	}
	_, counters, _ := strings.Cut(c.Limit("io.stat"), disk+" ")
	if got := value(t, strings.NewReplacer(" ", "\n", "=", " ").Replace(counters), "wbytes"); got < 8<<20 {
		t.Errorf("%d bytes written", got)
	}
}
