package resource

import (
	"math"

	"google.golang.org/protobuf/proto"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// The kernel's bounds: kernel/sched/sched.h, MAX_SHARES, and kernel/sched/core.c,
// min_cfs_quota_period.
const (
	maxShares     = 1 << 18
	minQuota      = 1000
	defaultPeriod = 100000
)

// Pod returns what a pod's cgroup is limited to: the sum over its containers and
// the overhead of the pod itself. swap is how much of that its containers were given together:
// a limit of memory without a word on swap allows that and no more, as a container's own does. Where one of the two has no limit, the pod has
// none. A quota or a memory below zero is "no limit": the kubelet
// subtracts a pod's overhead from -1 as from any other number (1.37,
// subtractOverheadFromResourceConfig), and quotas get below the kernel's least
// in the same way.
func Pod(resources, overhead *runtimeapi.LinuxContainerResources, swap int64) *runtimeapi.LinuxContainerResources {
	out := &runtimeapi.LinuxContainerResources{}
	if resources != nil {
		out = proto.CloneOf(resources)
	}
	out.OomScoreAdj = 0 // a process has one, a group has not
	out.MemoryLimitInBytes = sum(resources.GetMemoryLimitInBytes(), overhead.GetMemoryLimitInBytes())
	switch {
	case out.MemorySwapLimitInBytes > 0:
		out.MemorySwapLimitInBytes = sum(out.MemorySwapLimitInBytes, overhead.GetMemoryLimitInBytes())
	case out.MemorySwapLimitInBytes == 0 && out.MemoryLimitInBytes > 0:
		out.MemorySwapLimitInBytes = sum(out.MemoryLimitInBytes, swap)
	}
	if out.CpuShares > 0 {
		out.CpuShares = min(out.CpuShares+max(overhead.GetCpuShares(), 0), maxShares)
	}
	out.CpuQuota = sum(resources.GetCpuQuota(), quotaIn(period(out), overhead))
	if out.CpuQuota > 0 {
		out.CpuQuota, out.CpuPeriod = max(out.CpuQuota, minQuota), period(out)
	}
	for _, h := range overhead.GetHugepageLimits() {
		out.HugepageLimits = addPages(out.HugepageLimits, h)
	}
	return out
}

// sum adds what the overhead takes to a limit.
func sum(limit, overhead int64) int64 {
	switch {
	case limit == 0:
		return 0
	case limit < 0 || overhead < 0:
		return -1
	case limit > math.MaxInt64-overhead:
		return math.MaxInt64
	}
	return limit + overhead
}

func period(r *runtimeapi.LinuxContainerResources) int64 {
	if r.GetCpuPeriod() > 0 {
		return r.GetCpuPeriod()
	}
	return defaultPeriod
}

// quotaIn is r's quota for periods of another length.
func quotaIn(length int64, r *runtimeapi.LinuxContainerResources) int64 {
	if r.GetCpuQuota() <= 0 {
		return r.GetCpuQuota()
	}
	return int64(float64(r.GetCpuQuota()) / float64(period(r)) * float64(length))
}

func addPages(have []*runtimeapi.HugepageLimit, h *runtimeapi.HugepageLimit) []*runtimeapi.HugepageLimit {
	for _, old := range have {
		if old.GetPageSize() == h.GetPageSize() {
			if old.Limit > math.MaxUint64-h.GetLimit() {
				old.Limit = math.MaxUint64
				return have
			}
			old.Limit += h.GetLimit()
			return have
		}
	}
	return append(have, proto.CloneOf(h))
}
