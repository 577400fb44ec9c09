package metric

import (
	"github.com/varve-cri/varve/runtime/cgroup"
	"github.com/varve-cri/varve/runtime/usage"
)

// memory makes the value of a family out of the memory's part.
func memory(name, help string, value func(m *usage.Memory) uint64) family {
	return gauge(name, help, func(s *subject) uint64 { return value(&s.usage().Memory) })
}

func memoryEvents(name, help string, value func(m *usage.Memory) uint64) family {
	return counter(name, help, func(s *subject) uint64 { return value(&s.usage().Memory) })
}

var memoryFamilies = []family{
	memory("container_memory_cache", "Number of bytes of page cache memory.", func(m *usage.Memory) uint64 { return m.Cache }),
	memory("container_memory_rss", "Size of RSS in bytes.", func(m *usage.Memory) uint64 { return m.RSS }),
	memory("container_memory_kernel_usage", "Size of kernel memory allocated in bytes.", func(m *usage.Memory) uint64 { return m.Kernel }),
	memory("container_memory_mapped_file", "Size of memory mapped files in bytes.", func(m *usage.Memory) uint64 { return m.Mapped }),
	memory("container_memory_swap", "Container swap usage in bytes.", func(m *usage.Memory) uint64 { return m.Swap }),
	memory("container_memory_usage_bytes", "Current memory usage in bytes, including all memory regardless of when it was accessed.",
		func(m *usage.Memory) uint64 { return m.Usage }),
	memory("container_memory_max_usage_bytes", "Maximum memory usage recorded in bytes.", func(m *usage.Memory) uint64 { return max(m.Peak, m.Usage) }),
	memory("container_memory_working_set_bytes", "Current working set in bytes.", func(m *usage.Memory) uint64 { return m.WorkingSet }),
	memory("container_memory_total_active_file_bytes", "Current total active file in bytes.", func(m *usage.Memory) uint64 { return m.ActiveFile }),
	memory("container_memory_total_inactive_file_bytes", "Current total inactive file in bytes.", func(m *usage.Memory) uint64 { return m.InactiveFile }),
	memory("container_memory_file_dirty_bytes", "Number of bytes of file cache that has been modified but not yet written back to disk.",
		func(m *usage.Memory) uint64 { return m.Dirty }),
	memory("container_memory_file_writeback_bytes", "Number of bytes of file cache that is currently being written back to disk.",
		func(m *usage.Memory) uint64 { return m.Writeback }),
	memoryEvents("container_memory_failcnt", "Number of memory usage hits limits.", func(m *usage.Memory) uint64 { return m.MaxEvents }),
	memoryEvents("container_memory_events_high_total", "Cumulative count of memory.high throttle events for the container.",
		func(m *usage.Memory) uint64 { return m.HighEvents }),
	memoryEvents("container_memory_events_max_total", "Cumulative count of memory.max limit hit events for the container.",
		func(m *usage.Memory) uint64 { return m.MaxEvents }),
	memoryEvents("container_memory_workingset_refault_anon_total", "Cumulative number of refaults of previously evicted anonymous pages.",
		func(m *usage.Memory) uint64 { return m.RefaultAnon }),
	memoryEvents("container_memory_workingset_refault_file_total", "Cumulative number of refaults of previously evicted file pages.",
		func(m *usage.Memory) uint64 { return m.RefaultFile }),
	counter("container_memory_failures_total", "Cumulative count of memory allocation failures.", nil).labelled(func(s *subject, add add) {
		m := &s.usage().Memory
		add(m.OwnFaults, "pgfault", "container")
		add(m.PageFaults, "pgfault", "hierarchy")
		add(m.OwnMajorFaults, "pgmajfault", "container")
		add(m.MajorFaults, "pgmajfault", "hierarchy")
	}, "failure_type", "scope"),
}

// reclaimFamilies are counted by v2 only.
var reclaimFamilies = []family{
	memoryEvents("container_memory_pgscan_total", "Cumulative number of pages scanned by the page reclaim algorithm.",
		func(m *usage.Memory) uint64 { return m.Scanned }),
	memoryEvents("container_memory_pgsteal_total", "Cumulative number of pages reclaimed by the page reclaim algorithm.",
		func(m *usage.Memory) uint64 { return m.Reclaimed }),
}

// allowedHuge says whether a container may use huge pages of a size: the kubelet
// forbids each size that was not asked for.
func allowedHuge(s *subject, size string) bool {
	for _, l := range s.container.Resources.GetHugepageLimits() {
		if l.GetPageSize() == size {
			return l.GetLimit() > 0
		}
	}
	return true
}

var hugeFamilies = []family{
	gauge("container_hugetlb_usage_bytes", "Current hugepage usage in bytes.", nil).labelled(func(s *subject, add add) {
		for _, h := range s.usage().Huge {
			if h.Usage > 0 || allowedHuge(s, h.Size) {
				add(h.Usage, h.Size)
			}
		}
	}, "pagesize"),
	gauge("container_hugetlb_max_usage_bytes", "Maximum hugepage usage recorded in bytes.", nil).labelled(func(s *subject, add add) {
		for _, h := range s.usage().Huge {
			if peaksKept() && (h.Peak > 0 || allowedHuge(s, h.Size)) {
				add(h.Peak, h.Size)
			}
		}
	}, "pagesize"),
}

// peaksKept says whether the kernel notes the most huge pages a group had: v1 does.
func peaksKept() bool { return cgroup.Open("/").Dir("hugetlb") != "" }

// reclaimCounted says whether this host's cgroups count what reclaim does.
func reclaimCounted() bool { return cgroup.Detect() == cgroup.V2 }
