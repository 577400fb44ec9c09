package stats

import (
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/varve-cri/varve/runtime/cgroup"
)

// CPU is the processor use. The rate is left to the kubelet, which knows how
// far its own samples are apart.
func CPU(s *cgroup.Stats) *runtimeapi.CpuUsage {
	return &runtimeapi.CpuUsage{
		Timestamp:            s.Time.UnixNano(),
		UsageCoreNanoSeconds: value(s.CPU.Usage),
		Psi:                  psi(s.CPU.PSI),
	}
}

// Memory is the memory use; what is available is told only under a limit.
func Memory(s *cgroup.Stats) *runtimeapi.MemoryUsage {
	m := &runtimeapi.MemoryUsage{
		Timestamp:       s.Time.UnixNano(),
		WorkingSetBytes: value(s.Memory.WorkingSet),
		UsageBytes:      value(s.Memory.Usage),
		RssBytes:        value(s.Memory.RSS),
		PageFaults:      value(s.Memory.PageFaults),
		MajorPageFaults: value(s.Memory.MajorFaults),
		Psi:             psi(s.Memory.PSI),
	}
	if s.Memory.Limit != cgroup.Unlimited {
		m.AvailableBytes = value(room(s.Memory.Limit, s.Memory.WorkingSet))
	}
	return m
}

// Swap is the use of swap; nil where the kernel does not account it.
func Swap(s *cgroup.Stats) *runtimeapi.SwapUsage {
	if !s.Memory.SwapAccounts {
		return nil
	}
	u := &runtimeapi.SwapUsage{Timestamp: s.Time.UnixNano(), SwapUsageBytes: value(s.Memory.Swap)}
	if s.Memory.SwapLimit != cgroup.Unlimited {
		u.SwapAvailableBytes = value(room(s.Memory.SwapLimit, s.Memory.Swap))
	}
	return u
}

// IO is the pressure of block input and output.
func IO(s *cgroup.Stats) *runtimeapi.IoUsage {
	return &runtimeapi.IoUsage{Timestamp: s.Time.UnixNano(), Psi: psi(s.IO.PSI)}
}

// Processes is the number of tasks.
func Processes(s *cgroup.Stats) *runtimeapi.ProcessUsage {
	return &runtimeapi.ProcessUsage{Timestamp: s.Time.UnixNano(), ProcessCount: value(s.Pids.Current)}
}

func psi(p *cgroup.PSI) *runtimeapi.PsiStats {
	if p == nil {
		return nil
	}
	return &runtimeapi.PsiStats{Some: stall(p.Some), Full: stall(p.Full)}
}

func stall(s cgroup.Stall) *runtimeapi.PsiData {
	return &runtimeapi.PsiData{Total: s.Total, Avg10: s.Avg10, Avg60: s.Avg60, Avg300: s.Avg300}
}

func value(v uint64) *runtimeapi.UInt64Value { return &runtimeapi.UInt64Value{Value: v} }

func room(limit, used uint64) uint64 {
	if used > limit {
		return 0
	}
	return limit - used
}
