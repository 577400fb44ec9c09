package cgroup

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/opencontainers/cgroups"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// convert turns the OCI resources into the library's. Devices are the
// caller's affair: see deviceRules.
func (g *Group) convert(res *specs.LinuxResources) (*cgroups.Resources, error) {
	r := &cgroups.Resources{SkipDevices: true}
	if res == nil {
		return r, nil
	}
	for _, key := range sortedKeys(res.Unified) {
		if err := checkUnified(key); err != nil {
			return nil, err
		}
		if c, _, _ := strings.Cut(key, "."); !slices.Contains(g.host.v2Controllers, c) {
			return nil, fmt.Errorf("resources.unified: %q: this host's cgroups are %s, and %s is not in the v2 hierarchy: %w", key, g.host.mode, c, ErrNoController)
		}
	}
	r.Unified = res.Unified
	convertCPU(r, res.CPU)
	if err := convertMemory(r, res.Memory); err != nil {
		return nil, err
	}
	convertBlockIO(r, res.BlockIO)
	if res.Pids != nil {
		r.PidsLimit = res.Pids.Limit
	}
	for i, l := range res.HugepageLimits {
		if l.Pagesize == "" || strings.ContainsAny(l.Pagesize, "/. \n") {
			return nil, fmt.Errorf("resources.hugepageLimits[%d].pageSize: %q is not a size", i, l.Pagesize)
		}
		r.HugetlbLimit = append(r.HugetlbLimit, &cgroups.HugepageLimit{Pagesize: l.Pagesize, Limit: l.Limit})
	}
	if n := res.Network; n != nil {
		if n.ClassID != nil {
			r.NetClsClassid = *n.ClassID
		}
		for _, p := range n.Priorities {
			r.NetPrioIfpriomap = append(r.NetPrioIfpriomap, &cgroups.IfPrioMap{Interface: p.Name, Priority: int64(p.Priority)})
		}
	}
	for name, l := range res.Rdma {
		if r.Rdma == nil {
			r.Rdma = make(map[string]cgroups.LinuxRdma)
		}
		r.Rdma[name] = cgroups.LinuxRdma{HcaHandles: l.HcaHandles, HcaObjects: l.HcaObjects}
	}
	return r, nil
}

// checkUnified lets a unified key be a controller's file and nothing else:
// "cgroup." files would let a spec kill, freeze or re-shape the group, and
// with a path a pod would leave its own limits (CVE-2023-6476). memory.reclaim
// (Linux 5.19) is something to do, not something to set.
func checkUnified(key string) error {
	controller, _, ok := strings.Cut(key, ".")
	switch {
	case !ok || strings.ContainsAny(key, "/\n") || strings.HasPrefix(key, "."):
		return fmt.Errorf("resources.unified: %q is not of the form controller.parameter", key)
	case controller == "cgroup" || key == "memory.reclaim":
		return fmt.Errorf("resources.unified: %q is not a limit", key)
	}
	return nil
}

func convertCPU(r *cgroups.Resources, c *specs.LinuxCPU) {
	if c == nil {
		return
	}
	if c.Shares != nil {
		r.CpuShares = *c.Shares
		r.CpuWeight = cgroups.ConvertCPUSharesToCgroupV2Value(*c.Shares)
	}
	set(&r.CpuQuota, c.Quota)
	set(&r.CpuPeriod, c.Period)
	set(&r.CpuRtRuntime, c.RealtimeRuntime)
	set(&r.CpuRtPeriod, c.RealtimePeriod)
	r.CpuBurst, r.CPUIdle = c.Burst, c.Idle
	r.CpusetCpus, r.CpusetMems = c.Cpus, c.Mems
}

func convertMemory(r *cgroups.Resources, m *specs.LinuxMemory) error {
	if m == nil {
		return nil
	}
	set(&r.Memory, m.Limit)
	set(&r.MemoryReservation, m.Reservation)
	set(&r.MemorySwap, m.Swap)
	set(&r.OomKillDisable, m.DisableOOMKiller)
	set(&r.MemoryCheckBeforeUpdate, m.CheckBeforeUpdate)
	r.MemorySwappiness = m.Swappiness
	for name, v := range map[string]int64{"limit": r.Memory, "reservation": r.MemoryReservation, "swap": r.MemorySwap} {
		if v < -1 {
			return fmt.Errorf("resources.memory.%s: %d is not a size", name, v)
		}
	}
	if r.Memory > 0 && r.MemorySwap > 0 && r.MemorySwap < r.Memory {
		return errors.New("resources.memory.swap: memory and swap together are less than memory")
	}
	return nil
}

func convertBlockIO(r *cgroups.Resources, b *specs.LinuxBlockIO) {
	if b == nil {
		return
	}
	set(&r.BlkioWeight, b.Weight)
	set(&r.BlkioLeafWeight, b.LeafWeight)
	for _, d := range b.WeightDevice {
		var weight, leaf uint16
		set(&weight, d.Weight)
		set(&leaf, d.LeafWeight)
		r.BlkioWeightDevice = append(r.BlkioWeightDevice, cgroups.NewWeightDevice(d.Major, d.Minor, weight, leaf))
	}
	r.BlkioThrottleReadBpsDevice = throttles(b.ThrottleReadBpsDevice)
	r.BlkioThrottleWriteBpsDevice = throttles(b.ThrottleWriteBpsDevice)
	r.BlkioThrottleReadIOPSDevice = throttles(b.ThrottleReadIOPSDevice)
	r.BlkioThrottleWriteIOPSDevice = throttles(b.ThrottleWriteIOPSDevice)
}

func throttles(list []specs.LinuxThrottleDevice) []*cgroups.ThrottleDevice {
	var out []*cgroups.ThrottleDevice
	for _, d := range list {
		out = append(out, cgroups.NewThrottleDevice(d.Major, d.Minor, d.Rate))
	}
	return out
}

func sortedKeys(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) }

// set stores what p points to, if it points.
func set[T any](dst, p *T) {
	if p != nil {
		*dst = *p
	}
}
