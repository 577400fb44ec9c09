package stats

import (
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/varve-cri/varve/runtime/usage"
)

// cpu is the processor use, with its rate where that is known.
func cpu(s *usage.Usage, r *rate, began int64) *runtimeapi.CpuUsage {
	u := &runtimeapi.CpuUsage{
		Timestamp:            s.Time.UnixNano(),
		UsageCoreNanoSeconds: value(s.CPU.Total),
		Psi:                  psi(s.CPU.PSI),
	}
	if nano, known := r.sample(s.Time, s.CPU.Total, time.Unix(0, began)); known {
		u.UsageNanoCores = value(nano)
	}
	return u
}

// memory is the memory use; what is available is told only under a limit.
func memory(s *usage.Usage) *runtimeapi.MemoryUsage {
	m := &runtimeapi.MemoryUsage{
		Timestamp:       s.Time.UnixNano(),
		WorkingSetBytes: value(s.Memory.WorkingSet),
		UsageBytes:      value(s.Memory.Usage),
		RssBytes:        value(s.Memory.RSS),
		PageFaults:      value(s.Memory.PageFaults),
		MajorPageFaults: value(s.Memory.MajorFaults),
		Psi:             psi(s.Memory.PSI),
	}
	if s.Memory.Limit != usage.Unlimited {
		m.AvailableBytes = value(room(s.Memory.Limit, s.Memory.WorkingSet))
	}
	return m
}

// swap is the use of swap; nil where the kernel does not account it.
func swap(s *usage.Usage) *runtimeapi.SwapUsage {
	if !s.Memory.SwapAccounts {
		return nil
	}
	u := &runtimeapi.SwapUsage{Timestamp: s.Time.UnixNano(), SwapUsageBytes: value(s.Memory.Swap)}
	if s.Memory.SwapLimit != usage.Unlimited {
		u.SwapAvailableBytes = value(room(s.Memory.SwapLimit, s.Memory.Swap))
	}
	return u
}

// pressure is the pressure of block input and output.
func pressure(s *usage.Usage) *runtimeapi.IoUsage {
	return &runtimeapi.IoUsage{Timestamp: s.Time.UnixNano(), Psi: psi(s.IO.PSI)}
}

// tasks is the number of tasks.
func tasks(s *usage.Usage) *runtimeapi.ProcessUsage {
	return &runtimeapi.ProcessUsage{Timestamp: s.Time.UnixNano(), ProcessCount: value(s.Tasks.Current)}
}

func psi(p usage.PSI) *runtimeapi.PsiStats {
	if !p.Known {
		return nil
	}
	return &runtimeapi.PsiStats{Some: stall(p.Some), Full: stall(p.Full)}
}

func stall(s usage.Stall) *runtimeapi.PsiData {
	return &runtimeapi.PsiData{Total: s.Total, Avg10: s.Avg10, Avg60: s.Avg60, Avg300: s.Avg300}
}

func value(v uint64) *runtimeapi.UInt64Value { return &runtimeapi.UInt64Value{Value: v} }

func room(limit, used uint64) uint64 {
	if used > limit {
		return 0
	}
	return limit - used
}
