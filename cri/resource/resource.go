package resource

import (
	"maps"

	"google.golang.org/protobuf/proto"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Merge returns what applies when want is asked for while have applies. What
// want does not say stays: numbers and lists of processors as they are, huge
// page limits by page size, unified keys by name, and of swap the amount beside
// the memory, which is what the kernel is told in the end.
func Merge(have, want *runtimeapi.LinuxContainerResources) *runtimeapi.LinuxContainerResources {
	out := &runtimeapi.LinuxContainerResources{}
	if have != nil {
		out = proto.CloneOf(have)
	}
	put(&out.CpuPeriod, want.GetCpuPeriod())
	put(&out.CpuQuota, want.GetCpuQuota())
	put(&out.CpuShares, want.GetCpuShares())
	put(&out.OomScoreAdj, want.GetOomScoreAdj())
	put(&out.CpusetCpus, want.GetCpusetCpus())
	put(&out.CpusetMems, want.GetCpusetMems())
	if want.GetMemoryLimitInBytes() != 0 {
		out.MemorySwapLimitInBytes = swapBeside(have, want.GetMemoryLimitInBytes())
	}
	put(&out.MemoryLimitInBytes, want.GetMemoryLimitInBytes())
	put(&out.MemorySwapLimitInBytes, want.GetMemorySwapLimitInBytes())
	for _, h := range want.GetHugepageLimits() {
		out.HugepageLimits = putPages(out.HugepageLimits, h)
	}
	if len(want.GetUnified()) > 0 && out.Unified == nil {
		out.Unified = make(map[string]string, len(want.GetUnified()))
	}
	maps.Copy(out.Unified, want.GetUnified())
	return out
}

func put[T comparable](field *T, value T) {
	var unsaid T
	if value != unsaid {
		*field = value
	}
}

// swapBeside is the limit of memory and swap together that leaves as much swap
// beside a new memory limit as there was beside the one before.
func swapBeside(have *runtimeapi.LinuxContainerResources, memory int64) int64 {
	swap, before := have.GetMemorySwapLimitInBytes(), have.GetMemoryLimitInBytes()
	switch {
	case swap <= 0:
		return swap // none was said, or no limit
	case memory < 0:
		return -1
	case before > 0 && swap > before:
		return swap - before + memory
	}
	return memory
}

// putPages puts one page size's limit in its place. The messages of have are
// clones.
func putPages(have []*runtimeapi.HugepageLimit, h *runtimeapi.HugepageLimit) []*runtimeapi.HugepageLimit {
	for _, old := range have {
		if old.GetPageSize() == h.GetPageSize() {
			old.Limit = h.GetLimit()
			return have
		}
	}
	return append(have, proto.CloneOf(h))
}
