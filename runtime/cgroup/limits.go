package cgroup

import (
	"fmt"
	"io/fs"
	"math"
	"strings"

	"github.com/opencontainers/cgroups"

	"github.com/varve-cri/varve/runtime/internal/flat"
)

// Limits reads the limits in force back. A group that is not there is an
// error that matches fs.ErrNotExist.
func (g *Group) Limits() (*Limits, error) {
	l := &Limits{CPUQuota: -1}
	r := statsReader{}
	if g.host.mode == V2 {
		r.limitsV2(g.v2, l)
	} else {
		r.limitsV1(g, l)
	}
	switch {
	case r.err != nil:
		return nil, fmt.Errorf("cgroup %s: read limits: %w", g.path, r.err)
	case r.found == 0:
		return nil, fmt.Errorf("cgroup %s: read limits: %w", g.path, fs.ErrNotExist)
	}
	return l, nil
}

// text reads a file with one word.
func (r *statsReader) text(dir, file string, s *string) {
	r.read(dir, file, func(b []byte) { *s = strings.TrimSpace(string(b)) })
}

func (r *statsReader) limitsV1(g *Group, l *Limits) {
	cpu, cpuset, memory := g.v1Dir("cpu"), g.v1Dir("cpuset"), g.v1Dir("memory")
	r.value(cpu, "cpu.shares", &l.CPUShares)
	r.value(cpu, "cpu.cfs_period_us", &l.CPUPeriod)
	r.read(cpu, "cpu.cfs_quota_us", func(b []byte) { l.CPUQuota = quota(b) })
	r.text(cpuset, "cpuset.cpus", &l.CpusetCpus)
	r.text(cpuset, "cpuset.mems", &l.CpusetMems)
	r.value(memory, "memory.limit_in_bytes", &l.Memory)
	r.value(memory, "memory.memsw.limit_in_bytes", &l.MemorySwap)
	for _, v := range []*uint64{&l.Memory, &l.MemorySwap} {
		if *v >= v1NoLimit {
			*v = Unlimited
		}
	}
	r.value(g.v1Dir("pids"), "pids.max", &l.Pids)
}

func (r *statsReader) limitsV2(dir string, l *Limits) {
	var weight, swap uint64
	r.value(dir, "cpu.weight", &weight)
	l.CPUShares = sharesOf(weight)
	r.read(dir, "cpu.max", func(b []byte) {
		limit, period, _ := strings.Cut(string(b), " ")
		l.CPUQuota, l.CPUPeriod = quota([]byte(limit)), flat.Number([]byte(period))
	})
	r.text(dir, "cpuset.cpus", &l.CpusetCpus)
	r.text(dir, "cpuset.mems", &l.CpusetMems)
	r.value(dir, "memory.max", &l.Memory)
	r.value(dir, "memory.swap.max", &swap)
	l.MemorySwap = Unlimited
	if l.Memory != Unlimited && swap != Unlimited {
		l.MemorySwap = l.Memory + swap
	}
	r.value(dir, "pids.max", &l.Pids)
	for _, file := range []string{"memory.min", "memory.low", "memory.high"} {
		var v string
		if r.text(dir, file, &v); v != "" && v != "0" && v != "max" {
			if l.Unified == nil {
				l.Unified = make(map[string]string)
			}
			l.Unified[file] = v
		}
	}
}

// quota reads a CPU quota, where no limit is -1 on v1 and "max" on v2.
func quota(b []byte) int64 {
	if n := flat.Number(b); n <= math.MaxInt64 {
		return int64(n)
	}
	return -1
}

// sharesOf finds the smallest v1 shares that the library turns into weight. The
// conversion only grows, so bisection finds it.
func sharesOf(weight uint64) uint64 {
	if weight == 0 {
		return 0
	}
	low, high := uint64(2), uint64(262144)
	for low < high {
		mid := (low + high) / 2
		if cgroups.ConvertCPUSharesToCgroupV2Value(mid) < weight {
			low = mid + 1
		} else {
			high = mid
		}
	}
	return low
}
