package usage

import (
	"slices"

	"github.com/varve-cri/varve/runtime/cgroup"
	"github.com/varve-cri/varve/runtime/internal/flat"
)

// Parts says what is read beyond processor, memory and pressure, which always are.
type Parts int

// The parts.
const (
	Count  Parts = 1 << iota // how many tasks there are
	Detail                   // all that there is; implies Count
)

// source is one file. Nearly all costs are the opening of files, so that each
// part reads as few as it can.
type source struct {
	controller string // whose v1 hierarchy it is in; "" for the v2 group
	file       string
	part       Parts // 0: always read
	parse      func(text []byte, u *Usage)
}

func (s *source) wanted(parts Parts) bool {
	return s.part == 0 || parts&(s.part|Detail) != 0
}

// pressure files are in v2 groups even without controllers (Linux 4.20), and
// so on hybrid hosts.
var pressure = []source{
	{file: "cpu.pressure", parse: func(b []byte, u *Usage) { u.CPU.PSI = parsePSI(b) }},
	{file: "memory.pressure", parse: func(b []byte, u *Usage) { u.Memory.PSI = parsePSI(b) }},
	{file: "io.pressure", parse: func(b []byte, u *Usage) { u.IO.PSI = parsePSI(b) }},
}

var v1Sources = []source{
	{"cpuacct", "cpuacct.usage", 0, func(b []byte, u *Usage) { u.CPU.Total = flat.Number(b) }},
	{"memory", "memory.usage_in_bytes", 0, func(b []byte, u *Usage) { u.Memory.Usage = flat.Number(b) }},
	{"memory", "memory.stat", 0, func(b []byte, u *Usage) { flat.Fields(b, u.Memory.fieldV1) }},
	{"pids", "pids.current", Count, func(b []byte, u *Usage) { u.Tasks.Current = flat.Number(b) }},
	{"pids", "pids.max", Detail, func(b []byte, u *Usage) { u.Tasks.Limit = flat.Number(b) }},
	{"cpuacct", "cpuacct.usage_user", Detail, func(b []byte, u *Usage) { u.CPU.User = flat.Number(b) }},
	{"cpuacct", "cpuacct.usage_sys", Detail, func(b []byte, u *Usage) { u.CPU.System = flat.Number(b) }},
	{"cpu", "cpu.stat", Detail, func(b []byte, u *Usage) { flat.Fields(b, u.CPU.fieldV1) }},
	{"memory", "memory.kmem.usage_in_bytes", Detail, func(b []byte, u *Usage) { u.Memory.Kernel = flat.Number(b) }},
	{"memory", "memory.max_usage_in_bytes", Detail, func(b []byte, u *Usage) { u.Memory.Peak = flat.Number(b) }},
	{"memory", "memory.failcnt", Detail, func(b []byte, u *Usage) { u.Memory.MaxEvents = flat.Number(b) }},
	{"memory", "memory.oom_control", Detail, func(b []byte, u *Usage) { flat.Fields(b, u.Memory.event) }},
	{"blkio", "blkio.throttle.io_service_bytes_recursive", Detail, func(b []byte, u *Usage) { u.IO.blkio(b, true) }},
	{"blkio", "blkio.throttle.io_serviced_recursive", Detail, func(b []byte, u *Usage) { u.IO.blkio(b, false) }},
}

var v2Sources = []source{
	{"", "cpu.stat", 0, func(b []byte, u *Usage) { flat.Fields(b, u.CPU.fieldV2) }},
	{"", "memory.current", 0, func(b []byte, u *Usage) { u.Memory.Usage = flat.Number(b) }},
	{"", "memory.stat", 0, func(b []byte, u *Usage) { flat.Fields(b, u.Memory.fieldV2) }},
	{"", "memory.max", 0, func(b []byte, u *Usage) { u.Memory.Limit = flat.Number(b) }},
	{"", "memory.swap.current", 0, func(b []byte, u *Usage) { u.Memory.Swap, u.Memory.SwapAccounts = flat.Number(b), true }},
	{"", "memory.swap.max", 0, func(b []byte, u *Usage) { u.Memory.SwapLimit = flat.Number(b) }},
	{"", "pids.current", Count, func(b []byte, u *Usage) { u.Tasks.Current = flat.Number(b) }},
	{"", "pids.max", Detail, func(b []byte, u *Usage) { u.Tasks.Limit = flat.Number(b) }},
	{"", "memory.peak", Detail, func(b []byte, u *Usage) { u.Memory.Peak = flat.Number(b) }}, // Linux 5.19
	{"", "memory.events", Detail, func(b []byte, u *Usage) { flat.Fields(b, u.Memory.event) }},
	{"", "io.stat", Detail, func(b []byte, u *Usage) { u.IO.statV2(b) }},
}

// sources are the files of this host's groups.
func sources(g *cgroup.Group, mode cgroup.Mode) []source {
	all := slices.Clone(v2Sources)
	if mode != cgroup.V2 {
		all = slices.DeleteFunc(slices.Clone(v1Sources), func(s source) bool { return g.Dir(s.controller) == "" })
	}
	if g.V2Path() != "" {
		all = append(all, pressure...)
	}
	if g.Dir("hugetlb") == "" && g.V2Path() == "" {
		return all
	}
	return append(all, hugeSources(g.Dir("hugetlb") != "")...)
}

// hugeSources are those of the sizes of huge pages that this machine has. On a hybrid
// host the controller may be in v2.
func hugeSources(v1 bool) []source {
	var all []source
	for i, size := range hugeSizes() {
		set := func(field func(*Huge) *uint64) func([]byte, *Usage) {
			return func(b []byte, u *Usage) {
				for len(u.Huge) <= i {
					u.Huge = append(u.Huge, Huge{Size: hugeSizes()[len(u.Huge)]})
				}
				*field(&u.Huge[i]) = flat.Number(b)
			}
		}
		use, peak := set(func(h *Huge) *uint64 { return &h.Usage }), set(func(h *Huge) *uint64 { return &h.Peak })
		if !v1 {
			all = append(all, source{"", "hugetlb." + size + ".current", Detail, use})
			continue
		}
		all = append(all,
			source{"hugetlb", "hugetlb." + size + ".usage_in_bytes", Detail, use},
			source{"hugetlb", "hugetlb." + size + ".max_usage_in_bytes", Detail, peak})
	}
	return all
}
