package usage

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/varve-cri/varve/runtime/internal/flat"
)

// v1NoLimit is from where on a v1 limit is none: the kernel rounds the largest
// number of bytes down to pages.
const v1NoLimit = 1<<63 - 1<<20

// fieldV1 takes one line of a v1 memory.stat. Only the "total_" lines count
// the groups below.
func (m *Memory) fieldV1(key string, v uint64) {
	switch key {
	case "total_rss":
		m.RSS = v
	case "total_cache":
		m.Cache = v
	case "total_mapped_file":
		m.Mapped = v
	case "total_dirty":
		m.Dirty = v
	case "total_writeback":
		m.Writeback = v
	case "total_active_file":
		m.ActiveFile = v
	case "total_inactive_file":
		m.InactiveFile = v
	case "total_workingset_refault_anon":
		m.RefaultAnon = v
	case "total_workingset_refault_file":
		m.RefaultFile = v
	case "pgfault":
		m.OwnFaults = v
	case "pgmajfault":
		m.OwnMajorFaults = v
	case "total_pgfault":
		m.PageFaults = v
	case "total_pgmajfault":
		m.MajorFaults = v
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

// fieldV2 takes one line of a v2 memory.stat.
func (m *Memory) fieldV2(key string, v uint64) {
	switch key {
	case "anon":
		m.RSS = v
	case "file":
		m.Cache = v
	case "kernel": // Linux 5.18
		m.Kernel = v
	case "file_mapped":
		m.Mapped = v
	case "file_dirty":
		m.Dirty = v
	case "file_writeback":
		m.Writeback = v
	case "active_file":
		m.ActiveFile = v
	case "inactive_file":
		m.InactiveFile = v
	case "workingset_refault_anon":
		m.RefaultAnon = v
	case "workingset_refault_file":
		m.RefaultFile = v
	case "pgscan":
		m.Scanned = v
	case "pgsteal":
		m.Reclaimed = v
	case "pgfault":
		m.PageFaults, m.OwnFaults = v, v
	case "pgmajfault":
		m.MajorFaults, m.OwnMajorFaults = v, v
	}
}

// event takes one line of memory.events, or of v1's memory.oom_control.
func (m *Memory) event(key string, v uint64) {
	switch key {
	case "high":
		m.HighEvents = v
	case "max":
		m.MaxEvents = v
	case "oom_kill":
		m.OOMs = v
	}
}

// fieldV1 takes one line of a v1 cpu.stat: times in nanoseconds.
func (c *CPU) fieldV1(key string, v uint64) {
	switch key {
	case "nr_periods":
		c.Periods = v
	case "nr_throttled":
		c.ThrottledPeriods = v
	case "throttled_time":
		c.Throttled = v
	case "nr_bursts":
		c.BurstPeriods = v
	case "burst_time":
		c.Burst = v
	}
}

// fieldV2 takes one line of a v2 cpu.stat: times in microseconds.
func (c *CPU) fieldV2(key string, v uint64) {
	switch key {
	case "usage_usec":
		c.Total = v * 1000
	case "user_usec":
		c.User = v * 1000
	case "system_usec":
		c.System = v * 1000
	case "nr_periods":
		c.Periods = v
	case "nr_throttled":
		c.ThrottledPeriods = v
	case "throttled_usec":
		c.Throttled = v * 1000
	case "nr_bursts":
		c.BurstPeriods = v
	case "burst_usec":
		c.Burst = v * 1000
	}
}

// parsePSI reads a pressure file:
//
//	some avg10=0.00 avg60=0.00 avg300=0.00 total=0
//	full avg10=0.00 avg60=0.00 avg300=0.00 total=0
func parsePSI(text []byte) PSI {
	p := PSI{Known: true}
	for line := range bytes.Lines(text) {
		kind, rest, _ := bytes.Cut(line, []byte{' '})
		switch string(kind) {
		case "some":
			p.Some = parseStall(rest)
		case "full":
			p.Full = parseStall(rest)
		}
	}
	return p
}

func parseStall(text []byte) Stall {
	var s Stall
	for word := range bytes.FieldsSeq(text) {
		key, value, _ := bytes.Cut(word, []byte{'='})
		switch string(key) {
		case "avg10":
			s.Avg10 = decimal(value)
		case "avg60":
			s.Avg60 = decimal(value)
		case "avg300":
			s.Avg300 = decimal(value)
		case "total":
			s.Total = flat.Number(value) * 1000 // the kernel counts microseconds
		}
	}
	return s
}

func decimal(b []byte) float64 {
	f, err := strconv.ParseFloat(string(b), 64)
	if err != nil {
		return 0
	}
	return f
}

// device finds a device's part by its "8:0", or begins it; nil when it is not
// of that form.
func (io *IO) device(name []byte) *Device {
	first, second, ok := bytes.Cut(name, []byte{':'})
	major, err := strconv.ParseUint(string(first), 10, 32)
	minor, err2 := strconv.ParseUint(string(second), 10, 32)
	if !ok || err != nil || err2 != nil {
		return nil
	}
	i := slices.IndexFunc(io.Devices, func(d Device) bool { return d.Major == uint32(major) && d.Minor == uint32(minor) })
	if i < 0 {
		i = len(io.Devices)
		io.Devices = append(io.Devices, Device{Major: uint32(major), Minor: uint32(minor)})
	}
	return &io.Devices[i]
}

// blkio reads a v1 blkio file of lines like "8:0 Read 4096".
func (io *IO) blkio(text []byte, inBytes bool) {
	for line := range bytes.Lines(text) {
		name, rest, _ := bytes.Cut(line, []byte{' '})
		op, value, ok := bytes.Cut(rest, []byte{' '})
		if !ok {
			continue // the sum over all operations
		}
		d := io.device(name)
		switch {
		case d == nil:
		case inBytes && string(op) == "Read":
			d.ReadBytes = flat.Number(value)
		case inBytes && string(op) == "Write":
			d.WriteBytes = flat.Number(value)
		case inBytes && string(op) == "Discard":
			d.DiscardBytes = flat.Number(value)
		case !inBytes && string(op) == "Read":
			d.Reads = flat.Number(value)
		case !inBytes && string(op) == "Write":
			d.Writes = flat.Number(value)
		}
	}
}

// statV2 reads io.stat: "8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6".
func (io *IO) statV2(text []byte) {
	for line := range bytes.Lines(text) {
		name, rest, _ := bytes.Cut(line, []byte{' '})
		if len(bytes.TrimSpace(rest)) == 0 {
			continue // a device that was never used
		}
		d := io.device(name)
		if d == nil {
			continue
		}
		for word := range bytes.FieldsSeq(rest) {
			key, value, _ := bytes.Cut(word, []byte{'='})
			switch string(key) {
			case "rbytes":
				d.ReadBytes = flat.Number(value)
			case "wbytes":
				d.WriteBytes = flat.Number(value)
			case "dbytes":
				d.DiscardBytes = flat.Number(value)
			case "rios":
				d.Reads = flat.Number(value)
			case "wios":
				d.Writes = flat.Number(value)
			}
		}
	}
}

// hugeSizes are the machine's sizes of huge pages, written as the controller's
// files are named: 2MB, 1GB.
var hugeSizes = sync.OnceValue(func() []string {
	entries, err := os.ReadDir("/sys/kernel/mm/hugepages")
	if err != nil { // a kernel without huge pages
		return nil
	}
	var sizes []string
	for _, e := range entries {
		kib, err := strconv.ParseUint(strings.TrimSuffix(strings.TrimPrefix(e.Name(), "hugepages-"), "kB"), 10, 64)
		switch {
		case err != nil:
		case kib >= 1<<20:
			sizes = append(sizes, fmt.Sprintf("%dGB", kib>>20))
		case kib >= 1<<10:
			sizes = append(sizes, fmt.Sprintf("%dMB", kib>>10))
		default:
			sizes = append(sizes, fmt.Sprintf("%dKB", kib))
		}
	}
	return sizes
})
