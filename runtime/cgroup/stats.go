package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"time"

	"golang.org/x/sys/unix"
)

// Stats reads what the group and those below it have used: a dozen small
// files. Those of a missing controller are left out; a group that is not
// there at all is an error that matches fs.ErrNotExist.
func (g *Group) Stats() (*Stats, error) { return g.stats(statsReader{}) }

// Brief is Stats without throttling, the limit of tasks, and the bytes and
// operations of input and output, which the CRI has no fields for. Each file
// costs 7 µs, and the kubelet asks for every container every few seconds.
func (g *Group) Brief() (*Stats, error) { return g.stats(statsReader{brief: true}) }

func (g *Group) stats(r statsReader) (*Stats, error) {
	s := &Stats{Time: time.Now()}
	s.Memory.Limit, s.Memory.SwapLimit, s.Pids.Limit = Unlimited, Unlimited, Unlimited
	if g.host.mode == V2 {
		r.v2(g.v2, s)
	} else {
		r.v1(g, s)
	}
	if g.v2 != "" {
		r.pressure(g.v2, s)
	}
	if s.Memory.Usage > s.Memory.WorkingSet {
		s.Memory.WorkingSet = s.Memory.Usage - s.Memory.WorkingSet
	} else {
		s.Memory.WorkingSet = 0
	}
	switch {
	case r.err != nil:
		return nil, fmt.Errorf("cgroup %s: read usage: %w", g.path, r.err)
	case r.found == 0:
		return nil, fmt.Errorf("cgroup %s: read usage: %w", g.path, fs.ErrNotExist)
	}
	return s, nil
}

// statsReader reads files until one fails for another reason than that it is
// not there.
type statsReader struct {
	brief bool
	found int
	err   error
}

func (r *statsReader) read(dir, file string, f func([]byte)) {
	if dir == "" || r.err != nil {
		return
	}
	err := withFile(dir, file, f)
	switch {
	case err == nil:
		r.found++
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.ENODEV), errors.Is(err, unix.EOPNOTSUPP):
		// ENODEV: the group went away between open and read. EOPNOTSUPP: pressure
		// is switched off at boot.
	default:
		r.err = err
	}
}

// value reads a file with one number.
func (r *statsReader) value(dir, file string, v *uint64) {
	r.read(dir, file, func(b []byte) { *v = number(b) })
}

// v1 reads the files of the v1 hierarchies. WorkingSet holds the inactive file
// pages until Stats subtracts them.
func (r *statsReader) v1(g *Group, s *Stats) {
	r.value(g.v1Dir("cpuacct"), "cpuacct.usage", &s.CPU.Usage)
	memory, m := g.v1Dir("memory"), &s.Memory
	r.value(memory, "memory.usage_in_bytes", &m.Usage)
	r.read(memory, "memory.stat", func(b []byte) { fields(b, m.fieldV1) })
	pids := g.v1Dir("pids")
	r.value(pids, "pids.current", &s.Pids.Current)
	if r.brief {
		return
	}
	r.value(pids, "pids.max", &s.Pids.Limit)
	r.read(g.v1Dir("cpu"), "cpu.stat", func(b []byte) {
		fields(b, func(key string, v uint64) {
			if key == "throttled_time" {
				s.CPU.Throttled = v
			}
		})
	})
	blkio, io := g.v1Dir("blkio"), &s.IO
	r.read(blkio, "blkio.throttle.io_service_bytes_recursive", func(b []byte) { blkioV1(b, &io.ReadBytes, &io.WriteBytes) })
	r.read(blkio, "blkio.throttle.io_serviced_recursive", func(b []byte) { blkioV1(b, &io.ReadOps, &io.WriteOps) })
}

// v1NoLimit is from where on a v1 limit is none: the kernel rounds the largest
// number of bytes down to pages.
const v1NoLimit = 1<<63 - 1<<20

// fieldV1 takes one line of a v1 memory.stat. Only the "total_" lines count
// the groups below.
func (m *MemoryStats) fieldV1(key string, v uint64) {
	switch key {
	case "total_rss":
		m.RSS = v
	case "total_cache":
		m.Cache = v
	case "total_pgfault":
		m.PageFaults = v
	case "total_pgmajfault":
		m.MajorFaults = v
	case "total_inactive_file":
		m.WorkingSet = v
	case "total_swap":
		m.Swap, m.SwapAccounts = v, true
	case "hierarchical_memory_limit":
		if v < v1NoLimit {
			m.Limit = v
		}
	case "hierarchical_memsw_limit":
		if v < v1NoLimit && m.Limit != Unlimited && v >= m.Limit {
			m.SwapLimit = v - m.Limit
		}
	}
}

func (r *statsReader) v2(dir string, s *Stats) {
	r.read(dir, "cpu.stat", func(b []byte) {
		fields(b, func(key string, v uint64) {
			switch key {
			case "usage_usec":
				s.CPU.Usage = v * 1000
			case "throttled_usec":
				s.CPU.Throttled = v * 1000
			}
		})
	})
	m := &s.Memory
	r.value(dir, "memory.current", &m.Usage)
	r.read(dir, "memory.stat", func(b []byte) { fields(b, m.fieldV2) })
	r.value(dir, "memory.max", &m.Limit)
	r.read(dir, "memory.swap.current", func(b []byte) { m.Swap, m.SwapAccounts = number(b), true })
	r.value(dir, "memory.swap.max", &m.SwapLimit)
	r.value(dir, "pids.current", &s.Pids.Current)
	if r.brief {
		return
	}
	r.value(dir, "pids.max", &s.Pids.Limit)
	r.read(dir, "io.stat", func(b []byte) { ioV2(b, &s.IO) })
}

func (m *MemoryStats) fieldV2(key string, v uint64) {
	switch key {
	case "anon":
		m.RSS = v
	case "file":
		m.Cache = v
	case "pgfault":
		m.PageFaults = v
	case "pgmajfault":
		m.MajorFaults = v
	case "inactive_file":
		m.WorkingSet = v
	}
}

// pressure reads the three pressure files, which v2 groups have even without
// controllers (Linux 4.20).
func (r *statsReader) pressure(dir string, s *Stats) {
	r.read(dir, "cpu.pressure", func(b []byte) { s.CPU.PSI = parsePSI(b) })
	r.read(dir, "memory.pressure", func(b []byte) { s.Memory.PSI = parsePSI(b) })
	r.read(dir, "io.pressure", func(b []byte) { s.IO.PSI = parsePSI(b) })
}
