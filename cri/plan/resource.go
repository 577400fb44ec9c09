package plan

import (
	"regexp"
	"strconv"

	"github.com/opencontainers/runtime-spec/specs-go"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Resources turns the CRI's resources into the spec's, for a new container and
// for an update; field is where they are in the request. 0 and "" are "not
// said" throughout. Devices are not part of it.
func Resources(field string, r *runtimeapi.LinuxContainerResources, host *Host) (*specs.LinuxResources, error) {
	if r == nil {
		return &specs.LinuxResources{}, nil
	}
	if err := checkResources(field, r); err != nil {
		return nil, err
	}
	out := &specs.LinuxResources{CPU: cpu(r), Memory: memory(r, host)}
	for i, h := range r.HugepageLimits {
		if !pageSize.MatchString(h.GetPageSize()) {
			return nil, invalid(field+".hugepage_limits["+strconv.Itoa(i)+"].page_size", "%q is not a size such as 2MB", h.GetPageSize())
		}
		out.HugepageLimits = append(out.HugepageLimits, specs.LinuxHugepageLimit{Pagesize: h.GetPageSize(), Limit: h.GetLimit()})
	}
	if len(r.Unified) == 0 {
		return out, nil
	}
	if !host.UnifiedCgroup {
		return nil, invalid(field+".unified", "this node has no cgroup v2 controllers")
	}
	out.Unified = make(map[string]string, len(r.Unified))
	for k, v := range r.Unified {
		// The key becomes a file name in the container's cgroup.
		if !cgroupFile.MatchString(k) {
			return nil, invalid(field+".unified", "%q is not a cgroup file", k)
		}
		out.Unified[k] = v
	}
	return out, nil
}

var (
	pageSize   = regexp.MustCompile(`^[1-9][0-9]{0,5}[KMGT]B$`)
	cgroupFile = regexp.MustCompile(`^[a-z0-9_]+(\.[a-z0-9_]+)+$`)
	cpuList    = regexp.MustCompile(`^[0-9]+(-[0-9]+)?(,[0-9]+(-[0-9]+)?)*$`)
)

func checkResources(field string, r *runtimeapi.LinuxContainerResources) error {
	for _, n := range []struct {
		name  string
		value int64
		low   int64
	}{
		{"cpu_period", r.CpuPeriod, 0}, {"cpu_quota", r.CpuQuota, -1}, {"cpu_shares", r.CpuShares, 0},
		{"memory_limit_in_bytes", r.MemoryLimitInBytes, -1}, {"memory_swap_limit_in_bytes", r.MemorySwapLimitInBytes, -1},
	} {
		if n.value < n.low {
			return invalid(field+"."+n.name, "%d is below %d", n.value, n.low)
		}
	}
	if r.CpuPeriod != 0 && (r.CpuPeriod < 1000 || r.CpuPeriod > 1000000) {
		// kernel/sched/core.c: max_cfs_quota_period, min_cfs_quota_period
		return invalid(field+".cpu_period", "%d is not between 1000 and 1000000 microseconds", r.CpuPeriod)
	}
	if r.CpuQuota > 0 && r.CpuQuota < 1000 {
		return invalid(field+".cpu_quota", "%d is below 1000 microseconds", r.CpuQuota)
	}
	if s, m := r.MemorySwapLimitInBytes, r.MemoryLimitInBytes; s > 0 && m > 0 && s < m {
		return invalid(field+".memory_swap_limit_in_bytes", "%d is below the memory limit %d, which it includes", s, m)
	}
	for _, l := range []struct{ name, value string }{{"cpuset_cpus", r.CpusetCpus}, {"cpuset_mems", r.CpusetMems}} {
		// Bounded: a library expands lists, and "0-4294967295" once took all
		// memory (CVE-2018-20699).
		if l.value != "" && (len(l.value) > 4096 || !cpuList.MatchString(l.value) || longNumber.MatchString(l.value)) {
			return invalid(field+"."+l.name, "%.60q is not a list such as 0-3,7", l.value)
		}
	}
	return nil
}

var longNumber = regexp.MustCompile(`[0-9]{6}`)

func cpu(r *runtimeapi.LinuxContainerResources) *specs.LinuxCPU {
	c := &specs.LinuxCPU{Cpus: r.CpusetCpus, Mems: r.CpusetMems}
	if r.CpuShares > 0 {
		v := uint64(r.CpuShares)
		c.Shares = &v
	}
	if r.CpuQuota != 0 {
		v := r.CpuQuota
		c.Quota = &v
	}
	if r.CpuPeriod > 0 {
		v := uint64(r.CpuPeriod)
		c.Period = &v
	}
	if *c == (specs.LinuxCPU{}) {
		return nil
	}
	return c
}

// memory: a limit without a word on swap means no swap, where swap is counted
// at all; where it is not, the file is not there and nothing is said.
func memory(r *runtimeapi.LinuxContainerResources, host *Host) *specs.LinuxMemory {
	if r.MemoryLimitInBytes == 0 && r.MemorySwapLimitInBytes == 0 {
		return nil
	}
	m := &specs.LinuxMemory{}
	if r.MemoryLimitInBytes != 0 {
		v := r.MemoryLimitInBytes
		m.Limit = &v
	}
	if host.SwapLimit {
		v := r.MemorySwapLimitInBytes
		if v == 0 {
			v = r.MemoryLimitInBytes
		}
		m.Swap = &v
	}
	return m
}
