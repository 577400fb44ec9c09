package metric

import (
	"math"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/varve-cri/varve/cri/stats"
)

func processes(name, help string, value func(stats.Processes) uint64) family {
	return gauge(name, help, func(s *subject) uint64 { return value(s.sample.Processes) }).
		measured(func(s *subject) time.Time { return s.sample.ProcessesAt })
}

var processFamilies = []family{
	processes("container_processes", "Number of processes running inside the container.", func(p stats.Processes) uint64 { return p.Count }),
	processes("container_file_descriptors", "Number of open file descriptors for the container.", func(p stats.Processes) uint64 { return p.Descriptors }),
	processes("container_sockets", "Number of open sockets for the container.", func(p stats.Processes) uint64 { return p.Sockets }),
	gauge("container_ulimits_soft", "Soft ulimit values for the container root process. Unlimited if -1, except priority and nice.", nil).
		labelled(func(s *subject, add add) {
			var limit unix.Rlimit
			if unix.Prlimit(s.container.PID, unix.RLIMIT_NOFILE, nil, &limit) == nil {
				add(limit.Cur, "max_open_files")
			}
		}, "ulimit"),
}

// taskFamilies are counted by the kernel, for pods too.
var taskFamilies = []family{
	gauge("container_threads", "Number of threads running inside the container.", func(s *subject) uint64 { return s.usage().Tasks.Current }),
	gauge("container_threads_max", "Maximum number of threads allowed inside the container, infinity if value is zero.",
		func(s *subject) uint64 { return finite(s.usage().Tasks.Limit) }),
}

var timeFamilies = []family{
	gauge("container_last_seen", "Last time a container was seen by the exporter.", func(s *subject) uint64 { return uint64(s.now.Unix()) }),
	gauge("container_start_time_seconds", "Start time of the container since unix epoch in seconds.", func(s *subject) uint64 { return unixSeconds(s.began) }),
	gauge("container_creation_time_seconds", "Container creation time since unix epoch in seconds.", func(s *subject) uint64 { return unixSeconds(s.made) }),
}

// oomFamilies are told of a container that has ended, too: that is how most such
// ends are seen.
var oomFamilies = []family{
	counter("container_oom_events_total", "Count of out of memory events observed for the container.", func(s *subject) uint64 { return s.sample.OOMs }),
}

// positive is a value of a container's resources: 0 where it was not given, or is -1.
func positive(v int64) uint64 { return uint64(max(0, v)) }

// given is a value of a container's resources, or what the kernel takes without.
func given(v int64, without uint64) uint64 {
	if v <= 0 {
		return without
	}
	return uint64(v)
}

var specFamilies = []family{
	gauge("container_spec_cpu_period", "CPU period of the container.", func(s *subject) uint64 { return given(s.container.Resources.GetCpuPeriod(), 100000) }),
	gauge("container_spec_cpu_quota", "CPU quota of the container.", func(s *subject) uint64 { return positive(s.container.Resources.GetCpuQuota()) }).only(quota),
	gauge("container_spec_cpu_shares", "CPU share of the container.", func(s *subject) uint64 { return given(s.container.Resources.GetCpuShares(), 1024) }),
	gauge("container_spec_memory_limit_bytes", "Memory limit for the container.",
		func(s *subject) uint64 { return finite(positive(s.container.Resources.GetMemoryLimitInBytes())) }),
	gauge("container_spec_memory_swap_limit_bytes", "Memory swap limit for the container.",
		func(s *subject) uint64 { return finite(positive(s.container.Resources.GetMemorySwapLimitInBytes())) }),
	gauge("container_spec_memory_reservation_limit_bytes", "Memory reservation limit for the container.", func(s *subject) uint64 {
		v, err := strconv.ParseUint(s.container.Resources.GetUnified()["memory.min"], 10, 64)
		if err != nil { // none, or "max"
			return 0
		}
		return min(v, math.MaxInt64)
	}),
}

func network(name, help string, value func(*stats.Interface) uint64) family {
	return counter(name, help, nil).labelled(func(s *subject, add add) {
		for _, i := range s.interfaces {
			add(value(&i), i.Name)
		}
	}, "interface")
}

var networkFamilies = []family{
	network("container_network_receive_bytes_total", "Cumulative count of bytes received.", func(i *stats.Interface) uint64 { return i.RxBytes }),
	network("container_network_receive_packets_total", "Cumulative count of packets received.", func(i *stats.Interface) uint64 { return i.RxPackets }),
	network("container_network_receive_packets_dropped_total", "Cumulative count of packets dropped while receiving.", func(i *stats.Interface) uint64 { return i.RxDropped }),
	network("container_network_receive_errors_total", "Cumulative count of errors encountered while receiving.", func(i *stats.Interface) uint64 { return i.RxErrors }),
	network("container_network_transmit_bytes_total", "Cumulative count of bytes transmitted.", func(i *stats.Interface) uint64 { return i.TxBytes }),
	network("container_network_transmit_packets_total", "Cumulative count of packets transmitted.", func(i *stats.Interface) uint64 { return i.TxPackets }),
	network("container_network_transmit_packets_dropped_total", "Cumulative count of packets dropped while transmitting.", func(i *stats.Interface) uint64 { return i.TxDropped }),
	network("container_network_transmit_errors_total", "Cumulative count of errors encountered while transmitting.", func(i *stats.Interface) uint64 { return i.TxErrors }),
}
