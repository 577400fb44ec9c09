package container

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/varve-cri/varve/e2e/harness"
)

// groupFile reads a file of the container's cgroup, whichever hierarchy has it:
// v1 names first, then v2.
func groupFile(t *testing.T, c *harness.Container, h *harness.Test, names ...string) string {
	t.Helper()
	for _, item := range h.Node.Take() {
		dir, ok := strings.CutPrefix(item, "cgroup ")
		if !ok || filepath.Base(dir) != c.ID {
			continue
		}
		for _, name := range names {
			if body, err := os.ReadFile(filepath.Join(dir, name)); err == nil {
				return strings.TrimSpace(string(body))
			}
		}
	}
	t.Fatalf("no %v in any cgroup of container %s", names, c.ID)
	return ""
}

func TestCgroupLimits(t *testing.T) {
	h := suite.Test(t)
	c := h.Pod().Start(harness.Say("sleep"), harness.Resources(&runtimeapi.LinuxContainerResources{
		CpuPeriod: 50000, CpuQuota: 25000, CpuShares: 512, MemoryLimitInBytes: 64 << 20, CpusetCpus: "0",
	}))
	for _, tc := range []struct {
		names []string
		want  []string // v1's, v2's
	}{
		{[]string{"memory.limit_in_bytes", "memory.max"}, []string{"67108864"}},
		{[]string{"cpu.shares", "cpu.weight"}, []string{"512", "20", "59"}}, // the conversion to weight has changed with KEP-2254's revision
		{[]string{"cpu.cfs_quota_us", "cpu.max"}, []string{"25000", "25000 50000"}},
		{[]string{"cpuset.cpus"}, []string{"0"}},
	} {
		got, ok := groupFile(t, c, h, tc.names...), false
		for _, want := range tc.want {
			ok = ok || got == want
		}
		if !ok {
			t.Errorf("%v is %s, want one of %v", tc.names, got, tc.want)
		}
	}
	if got := c.Status().GetResources().GetLinux(); got.GetMemoryLimitInBytes() != 64<<20 || got.GetCpuQuota() != 25000 {
		t.Errorf("status tells resources %v", got)
	}
}

func TestUpdateResources(t *testing.T) {
	h := suite.Test(t)
	c := h.Pod().Start(harness.Say("sleep"), harness.Resources(&runtimeapi.LinuxContainerResources{MemoryLimitInBytes: 64 << 20}))
	_, err := h.UpdateContainerResources(h.Ctx, &runtimeapi.UpdateContainerResourcesRequest{
		ContainerId: c.ID, Linux: &runtimeapi.LinuxContainerResources{MemoryLimitInBytes: 96 << 20, CpuPeriod: 100000, CpuQuota: 30000},
	})
	h.Must(err)
	if got := groupFile(t, c, h, "memory.limit_in_bytes", "memory.max"); got != "100663296" {
		t.Errorf("memory limit is %s", got)
	}
	if got := groupFile(t, c, h, "cpu.cfs_quota_us", "cpu.max"); strings.Fields(got)[0] != "30000" {
		t.Errorf("cpu quota is %s", got)
	}
	// All or nothing: a memory limit beside a quota that no kernel takes.
	_, err = h.UpdateContainerResources(h.Ctx, &runtimeapi.UpdateContainerResourcesRequest{
		ContainerId: c.ID, Linux: &runtimeapi.LinuxContainerResources{MemoryLimitInBytes: 32 << 20, CpuQuota: 5},
	})
	if status.Code(err) != codes.InvalidArgument || !strings.Contains(err.Error(), "cpu_quota") {
		t.Errorf("a quota of 5 microseconds: %v", err)
	}
	if got := groupFile(t, c, h, "memory.limit_in_bytes", "memory.max"); got != "100663296" {
		t.Errorf("memory limit after a refused update is %s", got)
	}
	if got := c.Status().GetResources().GetLinux(); got.GetMemoryLimitInBytes() != 96<<20 || got.GetCpuQuota() != 30000 {
		t.Errorf("status tells resources %v", got)
	}
}

func TestOOMKill(t *testing.T) {
	h := suite.Test(t)
	c := h.Pod().Start(harness.Say("alloc 200"), harness.Resources(&runtimeapi.LinuxContainerResources{
		MemoryLimitInBytes: 32 << 20, MemorySwapLimitInBytes: 32 << 20,
	}))
	status := c.WaitExit()
	if status.GetReason() != "OOMKilled" || status.GetExitCode() != 137 {
		t.Errorf("reason %s, exit code %d", status.GetReason(), status.GetExitCode())
	}
}

func TestDeviceCgroup(t *testing.T) {
	h := suite.Test(t)
	mknod := harness.Security(func(s *securityContext) {
		s.Capabilities = &runtimeapi.Capability{AddCapabilities: []string{"MKNOD"}}
	})
	c := h.Pod().Start(harness.Say("sleep"), mknod)
	// GHSA-g54h-m393-cpwq: /dev/mem (1:1) made by hand must stay shut.
	answer, err := c.TryExec(0, "mknod", "/tmp/mem", "1", "1", "+", "open", "/tmp/mem")
	h.Must(err)
	if answer.GetExitCode() == 0 {
		t.Error("the container reads a device that it was not given")
	}
	c.Exec("mknod /tmp/zero 1 5 + open /tmp/zero")
}

func TestRlimitsAndOOMScore(t *testing.T) {
	h := suite.Test(t)
	c := h.Pod().Start(harness.Say("sleep"), harness.Resources(&runtimeapi.LinuxContainerResources{OomScoreAdj: 500}))
	// The hard limit only: a Go program, as the probe is one, raises its soft
	// limit before main.
	var own unix.Rlimit
	h.Must(unix.Getrlimit(unix.RLIMIT_NOFILE, &own))
	_, files, _ := strings.Cut(c.Exec("cat /proc/1/limits"), "Max open files")
	if fields, want := strings.Fields(files), fmt.Sprint(min(own.Max, 524288)); len(fields) < 2 || fields[1] != want {
		t.Errorf("open files of the first process: %v, want the hard limit %s", fields, want)
	}
	if got := strings.TrimSpace(c.Exec("cat /proc/1/oom_score_adj")); got != "500" {
		t.Errorf("oom_score_adj is %s", got)
	}
	// Lower than this machine may allow: an explicit choice of the
	// configuration clamps it, and the container starts all the same.
	low := h.Pod().Start(harness.Say("sleep"), harness.Resources(&runtimeapi.LinuxContainerResources{OomScoreAdj: -998}))
	got, err := strconv.Atoi(strings.TrimSpace(low.Exec("cat /proc/1/oom_score_adj")))
	h.Must(err)
	if got > 0 {
		t.Errorf("oom_score_adj is %d", got)
	}
}

func TestStats(t *testing.T) {
	h := suite.Test(t)
	c := h.Pod().Start(harness.Say("spin 200ms + alloc 20 + fill /tmp/data 3 + print done + sleep"))
	c.WaitLog("done")
	var stats *runtimeapi.ContainerStats
	harness.Eventually(t, "the layer is measured", func() bool {
		answer, err := h.ContainerStats(h.Ctx, &runtimeapi.ContainerStatsRequest{ContainerId: c.ID})
		h.Must(err)
		stats = answer.GetStats()
		return stats.GetWritableLayer().GetUsedBytes() != nil
	})
	if got := stats.GetCpu().GetUsageCoreNanoSeconds().GetValue(); got < 150e6 {
		t.Errorf("cpu: %d ns", got)
	}
	if got := stats.GetMemory().GetWorkingSetBytes().GetValue(); got < 20<<20 || got > 100<<20 {
		t.Errorf("working set: %d", got)
	}
	if got := stats.GetWritableLayer().GetUsedBytes().GetValue(); got < 3<<20 || got > 6<<20 {
		t.Errorf("writable layer: %d bytes", got)
	}
	if stats.GetAttributes().GetId() != c.ID || stats.GetCpu().GetTimestamp() == 0 {
		t.Errorf("attributes: %v", stats.GetAttributes())
	}
}
