package pod

import (
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/varve-cri/varve/e2e/harness"
)

// The load that the statistics must show.
const (
	heldMiB    = 40
	writtenMiB = 8
	spun       = 1500 * time.Millisecond
	sentKiB    = 64
	requests   = 20
)

// load runs a pod of its own network with one container that has held memory,
// written a file, used the processor and sent bytes.
func load(h *harness.Test) (*harness.Pod, *harness.Container) {
	h.T.Helper()
	pod := h.Pod(harness.OwnNetwork)
	c := pod.Start(harness.Args("fill", "/big", "8", "+", "spin", spun.String(), "+", "alloc", "40", "+", "serve", ":8080", strings.Repeat("x", sentKiB<<10)),
		harness.Resources(&runtimeapi.LinuxContainerResources{CpuPeriod: 100000, CpuQuota: 150000, CpuShares: 512, MemoryLimitInBytes: 128 << 20}))
	c.WaitLog("serving")
	for range requests {
		answer, err := http.Get("http://" + net.JoinHostPort(pod.Status().GetNetwork().GetIp(), "8080"))
		h.Must(err)
		n, err := io.Copy(io.Discard, answer.Body)
		h.Must(err)
		answer.Body.Close()
		if n < sentKiB<<10 {
			h.T.Fatalf("%d bytes came", n)
		}
	}
	return pod, c
}

// between fails the test when a value is not where the load puts it.
func between(t *testing.T, what string, got, low, high uint64) {
	t.Helper()
	if got < low || got > high {
		t.Errorf("%s: %d, want %d to %d", what, got, low, high)
	}
}

func psi(t *testing.T, what string, p *runtimeapi.PsiStats) {
	t.Helper()
	if _, err := os.Stat("/proc/pressure"); err == nil && (p.GetSome() == nil || p.GetFull() == nil) {
		t.Errorf("%s: no pressure, which the kernel keeps: %v", what, p)
	}
}

func TestStatsShowTheLoad(t *testing.T) {
	h := suite.Test(t)
	pod, c := load(h)
	var first, s *runtimeapi.ContainerStats
	harness.Eventually(t, "the file is in the layer's size", func() bool {
		answer, err := h.ContainerStats(h.Ctx, &runtimeapi.ContainerStatsRequest{ContainerId: c.ID})
		h.Must(err)
		s = answer.GetStats()
		if first == nil {
			first = s
		}
		return s.GetWritableLayer().GetUsedBytes().GetValue() >= writtenMiB<<20
	})
	between(t, "layer", s.GetWritableLayer().GetUsedBytes().GetValue(), writtenMiB<<20, (writtenMiB+2)<<20)
	between(t, "inodes", s.GetWritableLayer().GetInodesUsed().GetValue(), 1, 50)
	between(t, "processor", s.GetCpu().GetUsageCoreNanoSeconds().GetValue(), uint64(spun)*9/10, 60e9)
	// The first rate is that since the start; a later one may be that of a second in which nothing was asked for.
	between(t, "rate", first.GetCpu().GetUsageNanoCores().GetValue(), 1, 16e9)
	m := s.GetMemory()
	between(t, "memory", m.GetUsageBytes().GetValue(), heldMiB<<20, 128<<20)
	between(t, "working set", m.GetWorkingSetBytes().GetValue(), heldMiB<<20, m.GetUsageBytes().GetValue())
	between(t, "rss", m.GetRssBytes().GetValue(), heldMiB<<20, 100<<20)
	between(t, "faults", m.GetPageFaults().GetValue(), 100, 1e9)
	if m.GetMajorPageFaults() == nil || m.GetAvailableBytes().GetValue()+m.GetWorkingSetBytes().GetValue() != 128<<20 {
		t.Errorf("memory %v", m)
	}
	psi(t, "processor", s.GetCpu().GetPsi())
	psi(t, "memory", m.GetPsi())
	psi(t, "io", s.GetIo().GetPsi())
	if swaps, err := os.ReadFile("/proc/swaps"); err == nil && strings.Count(string(swaps), "\n") > 1 && s.GetSwap().GetSwapUsageBytes() == nil {
		t.Errorf("swap, of which the machine has some: %v", s.GetSwap())
	}
	fs, err := h.ImageFsInfo(h.Ctx, &runtimeapi.ImageFsInfoRequest{})
	h.Must(err)
	if got := fs.GetContainerFilesystems()[0].GetFsId().GetMountpoint(); got != s.GetWritableLayer().GetFsId().GetMountpoint() || len(fs.GetImageFilesystems()) != 1 {
		t.Errorf("file systems %v; the layer is on %v", fs, s.GetWritableLayer().GetFsId())
	}
	between(t, "all layers", fs.GetContainerFilesystems()[0].GetUsedBytes().GetValue(), s.GetWritableLayer().GetUsedBytes().GetValue(), 1<<40)
	between(t, "all images", fs.GetImageFilesystems()[0].GetUsedBytes().GetValue(), 1<<20, 1<<40)
	for name, at := range map[string]int64{"cpu": s.GetCpu().GetTimestamp(), "memory": m.GetTimestamp(), "io": s.GetIo().GetTimestamp(), "layer": s.GetWritableLayer().GetTimestamp()} {
		if age := time.Since(time.Unix(0, at)); age < 0 || age > 20*time.Minute {
			t.Errorf("%s is %v old", name, age)
		}
	}

	answer, err := h.PodSandboxStats(h.Ctx, &runtimeapi.PodSandboxStatsRequest{PodSandboxId: pod.ID})
	h.Must(err)
	linux := answer.GetStats().GetLinux()
	eth := linux.GetNetwork().GetDefaultInterface()
	between(t, "sent", eth.GetTxBytes().GetValue(), requests*sentKiB<<10, 2*requests*sentKiB<<10)
	between(t, "received", eth.GetRxBytes().GetValue(), 1000, requests*sentKiB<<10)
	if eth.GetName() != "eth0" || eth.GetRxErrors() == nil || eth.GetTxErrors() == nil || len(linux.GetNetwork().GetInterfaces()) != 0 {
		t.Errorf("network %v", linux.GetNetwork())
	}
	between(t, "tasks", linux.GetProcess().GetProcessCount().GetValue(), 1, 100)
	between(t, "the pod's processor", linux.GetCpu().GetUsageCoreNanoSeconds().GetValue(), s.GetCpu().GetUsageCoreNanoSeconds().GetValue(), 60e9)
	between(t, "the pod's memory", linux.GetMemory().GetWorkingSetBytes().GetValue(), heldMiB<<20, 200<<20)
	psi(t, "the pod", linux.GetIo().GetPsi())
	if len(linux.GetContainers()) != 1 || linux.GetCpu().GetUsageNanoCores() == nil {
		t.Errorf("pod %v", linux)
	}

	c.Stop(0)
	ended, err := h.ContainerStats(h.Ctx, &runtimeapi.ContainerStatsRequest{ContainerId: c.ID})
	h.Must(err)
	if s := ended.GetStats(); s.GetCpu() != nil || s.GetMemory() != nil || s.GetWritableLayer().GetUsedBytes().GetValue() < writtenMiB<<20 {
		t.Errorf("of a container that has ended: %v", s)
	}
	// The network is there without a process.
	answer, err = h.PodSandboxStats(h.Ctx, &runtimeapi.PodSandboxStatsRequest{PodSandboxId: pod.ID})
	h.Must(err)
	if got := answer.GetStats().GetLinux().GetNetwork().GetDefaultInterface().GetTxBytes().GetValue(); got < eth.GetTxBytes().GetValue() {
		t.Errorf("sent after the container's end: %d", got)
	}
	pod.Stop()
	answer, err = h.PodSandboxStats(h.Ctx, &runtimeapi.PodSandboxStatsRequest{PodSandboxId: pod.ID})
	h.Must(err)
	if got := answer.GetStats().GetLinux().GetNetwork(); got != nil {
		t.Errorf("the network of a pod that was stopped: %v", got)
	}
}

// metricsOf are the metrics of one pod and its containers: their sums over all other
// labels.
func metricsOf(h *harness.Test, podID string) (sums map[string]uint64, all []*runtimeapi.Metric) {
	h.T.Helper()
	answer, err := h.ListPodSandboxMetrics(h.Ctx, &runtimeapi.ListPodSandboxMetricsRequest{})
	h.Must(err)
	sums = map[string]uint64{}
	for _, p := range answer.GetPodMetrics() {
		if p.GetPodSandboxId() != podID {
			continue
		}
		for _, m := range p.GetMetrics() {
			sums["pod/"+m.GetName()] += m.GetValue().GetValue()
		}
		all = append(all, p.GetMetrics()...)
		for _, c := range p.GetContainerMetrics() {
			for _, m := range c.GetMetrics() {
				sums[m.GetName()] += m.GetValue().GetValue()
			}
			all = append(all, c.GetMetrics()...)
		}
	}
	return sums, all
}

func TestMetricsShowTheLoad(t *testing.T) {
	h := suite.Test(t)
	pod, c := load(h)
	described, err := h.ListMetricDescriptors(h.Ctx, &runtimeapi.ListMetricDescriptorsRequest{})
	h.Must(err)
	var sums map[string]uint64
	var all []*runtimeapi.Metric
	harness.Eventually(t, "the file is in the layer's size", func() bool {
		sums, all = metricsOf(h, pod.ID)
		return sums["container_fs_usage_bytes"] >= writtenMiB<<20 && sums["container_file_descriptors"] > 0
	})
	keys := map[string]int{}
	for _, d := range described.GetDescriptors() {
		keys[d.GetName()] = len(d.GetLabelKeys())
	}
	counters, seen := map[string]uint64{}, map[string]bool{}
	for _, m := range all {
		if keys[m.GetName()] != len(m.GetLabelValues()) {
			t.Errorf("%v has not the %d labels of its descriptor", m, keys[m.GetName()])
		}
		if m.GetMetricType() == runtimeapi.MetricType_COUNTER {
			counters[m.GetName()+strings.Join(m.GetLabelValues(), "|")] = m.GetValue().GetValue()
		}
		seen[m.GetName()] = true
	}
	_, err = os.Stat("/proc/pressure")
	for name := range keys {
		// A controller that a host may not have, and what a kernel may not keep.
		if !seen[name] && !strings.HasPrefix(name, "container_hugetlb_") && (err == nil || !strings.HasPrefix(name, "container_pressure_")) {
			t.Errorf("%s is described and has no value", name)
		}
	}
	between(t, "processor", sums["container_cpu_usage_seconds_total"], 1, 60)
	between(t, "the pod's processor", sums["pod/container_cpu_usage_seconds_total"], 1, 60)
	between(t, "rss", sums["container_memory_rss"], heldMiB<<20, 100<<20)
	between(t, "peak", sums["container_memory_max_usage_bytes"], heldMiB<<20, 128<<20)
	between(t, "limit", sums["container_spec_memory_limit_bytes"], 128<<20, 128<<20)
	between(t, "quota", sums["container_spec_cpu_quota"], 150000, 150000)
	between(t, "periods", sums["container_cpu_cfs_periods_total"], 1, 1e6)
	between(t, "processes", sums["container_processes"], 1, 1)
	between(t, "sockets", sums["container_sockets"], 1, 100)
	between(t, "descriptors", sums["container_file_descriptors"], 4, 100)
	between(t, "start", sums["container_start_time_seconds"], uint64(time.Now().Add(-20*time.Minute).Unix()), uint64(time.Now().Unix()))
	between(t, "sent", sums["pod/container_network_transmit_bytes_total"], requests*sentKiB<<10, 2*requests*sentKiB<<10)
	between(t, "disk", sums["container_fs_limit_bytes"], 1<<20, 1<<60)

	// What an exec wrote stays counted when its cgroup has gone.
	c.Exec("fill /more 4")
	_, all = metricsOf(h, pod.ID)
	for _, m := range all {
		key := m.GetName() + strings.Join(m.GetLabelValues(), "|")
		if before, is := counters[key]; is && m.GetValue().GetValue() < before {
			t.Errorf("a counter has fallen from %d: %v", before, m)
		}
	}
	stream, err := h.StreamPodSandboxMetrics(h.Ctx, &runtimeapi.StreamPodSandboxMetricsRequest{})
	h.Must(err)
	found := false
	for {
		part, err := stream.Recv()
		if err != nil {
			break
		}
		for _, p := range part.GetPodSandboxMetrics() {
			found = found || p.GetPodSandboxId() == pod.ID && len(p.GetContainerMetrics()) == 1
		}
	}
	if !found {
		t.Error("the stream has not the pod's metrics")
	}
}

// TestKilledForMemory counts it also after the end, which it is mostly.
func TestKilledForMemory(t *testing.T) {
	h := suite.Test(t)
	pod := h.Pod()
	pod.Start(harness.Say("alloc 100 + sleep"), harness.Resources(&runtimeapi.LinuxContainerResources{MemoryLimitInBytes: 30 << 20})).WaitExit()
	if sums, all := metricsOf(h, pod.ID); sums["container_oom_events_total"] != 1 {
		t.Errorf("metrics of a container that was killed: %v", all)
	}
}
