package plan

import (
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/varve-cri/varve/cri/fault"
	"github.com/varve-cri/varve/cri/resource"
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
	var err error
	if out.HugepageLimits, err = hugepages(field, r); err != nil {
		return nil, err
	}
	out.Unified, err = unified(field, r, host)
	return out, err
}

func hugepages(field string, r *runtimeapi.LinuxContainerResources) ([]specs.LinuxHugepageLimit, error) {
	var out []specs.LinuxHugepageLimit
	seen := make(map[string]bool, len(r.HugepageLimits))
	for i, h := range r.HugepageLimits {
		field := field + ".hugepage_limits[" + strconv.Itoa(i) + "].page_size"
		if !pageSize.MatchString(h.GetPageSize()) {
			return nil, fault.Invalid(field, "%q is not a size such as 2MB", h.GetPageSize())
		}
		if seen[h.GetPageSize()] {
			return nil, fault.Invalid(field, "%s is given twice", h.GetPageSize())
		}
		seen[h.GetPageSize()] = true
		out = append(out, specs.LinuxHugepageLimit{Pagesize: h.GetPageSize(), Limit: h.GetLimit()})
	}
	return out, nil
}

// unified checks the keys, which become file names in the container's cgroup:
// each must be a limit of a controller that this node has in its v2 hierarchy.
func unified(field string, r *runtimeapi.LinuxContainerResources, host *Host) (map[string]string, error) {
	if len(r.Unified) == 0 {
		return nil, nil
	}
	field += ".unified"
	out := make(map[string]string, len(r.Unified))
	for _, k := range slices.Sorted(maps.Keys(r.Unified)) {
		v := r.Unified[k]
		controller, _, _ := strings.Cut(k, ".")
		switch {
		case !cgroupFile.MatchString(k):
			return nil, fault.Invalid(field, "%.60q is not a cgroup file", k)
		case controller == "cgroup" || k == "memory.reclaim":
			return nil, fault.Invalid(field, "%q is not a limit", k)
		case !slices.Contains(host.Unified, controller):
			return nil, fault.Invalid(field, "%q: this node has no controller %s in a cgroup v2 hierarchy", k, controller)
		case v == "" || len(v) > 4096 || strings.ContainsRune(v, 0):
			return nil, fault.Invalid(field, "%q: %.60q is not a value", k, v)
		}
		out[k] = v
	}
	return out, nil
}

// PodResources is Resources for a pod's cgroup: what its containers may use
// together, and the overhead that comes on top of it. parent is what comes
// before "resources" and "overhead" in the names of the fields; swap is what the containers have
// been given of that (resource.Swap), which the pod's limit must not take away.
func PodResources(parent string, resources, overhead *runtimeapi.LinuxContainerResources, swap int64, host *Host) (*specs.LinuxResources, error) {
	for _, part := range []struct {
		field string
		r     *runtimeapi.LinuxContainerResources
	}{{parent + "resources", resources}, {parent + "overhead", overhead}} {
		if part.r == nil {
			continue
		}
		if err := checkCPU(part.field, part.r); err != nil {
			return nil, err
		}
		if _, err := hugepages(part.field, part.r); err != nil {
			return nil, err
		}
		if _, err := unified(part.field, part.r, host); err != nil {
			return nil, err
		}
	}
	return Resources(parent+"resources", resource.Pod(resources, overhead, swap), host)
}

var (
	pageSize   = regexp.MustCompile(`^[1-9][0-9]{0,5}[KMGT]B$`)
	cgroupFile = regexp.MustCompile(`^[a-z0-9_]+(\.[A-Za-z0-9_]+)+$`) // hugetlb.2MB.max
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
			return fault.Invalid(field+"."+n.name, "%d is below %d", n.value, n.low)
		}
	}
	if r.CpuQuota > 0 && r.CpuQuota < 1000 {
		return fault.Invalid(field+".cpu_quota", "%d is below 1000 microseconds", r.CpuQuota)
	}
	switch s, m := r.MemorySwapLimitInBytes, r.MemoryLimitInBytes; {
	case s > 0 && m > 0 && s < m:
		return fault.Invalid(field+".memory_swap_limit_in_bytes", "%d is below the memory limit %d, which it includes", s, m)
	case s > 0 && m <= 0:
		return fault.Invalid(field+".memory_swap_limit_in_bytes", "%d is of memory and swap together, and there is no memory limit", s)
	}
	return checkCPU(field, r)
}

// checkCPU checks what has the same bounds for a pod.
func checkCPU(field string, r *runtimeapi.LinuxContainerResources) error {
	if r.CpuPeriod != 0 && (r.CpuPeriod < 1000 || r.CpuPeriod > 1000000) {
		// kernel/sched/core.c: max_cfs_quota_period, min_cfs_quota_period
		return fault.Invalid(field+".cpu_period", "%d is not between 1000 and 1000000 microseconds", r.CpuPeriod)
	}
	for _, l := range []struct{ name, value string }{{"cpuset_cpus", r.CpusetCpus}, {"cpuset_mems", r.CpusetMems}} {
		// Bounded: a library expands lists, and "0-4294967295" once took all
		// memory (CVE-2018-20699).
		if l.value != "" && (len(l.value) > 4096 || !cpuList.MatchString(l.value) || longNumber.MatchString(l.value)) {
			return fault.Invalid(field+"."+l.name, "%.60q is not a list such as 0-3,7", l.value)
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
// at all; where it is not, the file is not there and nothing is said. On v2 the
// kubelet's word on swap is the unified key memory.swap.max (NodeSwap).
func memory(r *runtimeapi.LinuxContainerResources, host *Host) *specs.LinuxMemory {
	if r.MemoryLimitInBytes == 0 && r.MemorySwapLimitInBytes == 0 {
		return nil
	}
	m := &specs.LinuxMemory{}
	if r.MemoryLimitInBytes != 0 {
		v := r.MemoryLimitInBytes
		m.Limit = &v
	}
	if _, said := r.Unified["memory.swap.max"]; host.SwapLimit && !said {
		v := r.MemorySwapLimitInBytes
		if v == 0 {
			v = r.MemoryLimitInBytes
		}
		m.Swap = &v
	}
	return m
}
