package metric

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/varve-cri/varve/cri/record"
	"github.com/varve-cri/varve/cri/stats"
	"github.com/varve-cri/varve/runtime/cgroup"
	"github.com/varve-cri/varve/runtime/usage"
)

// everywhere are the names that a kubelet's cAdvisor has for containers, and that
// dashboards, alerts and the conformance suite know.
var everywhere = strings.Fields(`
container_blkio_device_usage_total
container_cpu_cfs_burst_periods_total
container_cpu_cfs_burst_seconds_total
container_cpu_cfs_periods_total
container_cpu_cfs_throttled_periods_total
container_cpu_cfs_throttled_seconds_total
container_cpu_system_seconds_total
container_cpu_usage_seconds_total
container_cpu_user_seconds_total
container_creation_time_seconds
container_file_descriptors
container_fs_inodes_free
container_fs_inodes_total
container_fs_limit_bytes
container_fs_reads_bytes_total
container_fs_reads_total
container_fs_usage_bytes
container_fs_writes_bytes_total
container_fs_writes_total
container_hugetlb_max_usage_bytes
container_hugetlb_usage_bytes
container_last_seen
container_memory_cache
container_memory_events_high_total
container_memory_events_max_total
container_memory_failcnt
container_memory_failures_total
container_memory_file_dirty_bytes
container_memory_file_writeback_bytes
container_memory_kernel_usage
container_memory_mapped_file
container_memory_max_usage_bytes
container_memory_rss
container_memory_swap
container_memory_total_active_file_bytes
container_memory_total_inactive_file_bytes
container_memory_usage_bytes
container_memory_working_set_bytes
container_memory_workingset_refault_anon_total
container_memory_workingset_refault_file_total
container_network_receive_bytes_total
container_network_receive_errors_total
container_network_receive_packets_dropped_total
container_network_receive_packets_total
container_network_transmit_bytes_total
container_network_transmit_errors_total
container_network_transmit_packets_dropped_total
container_network_transmit_packets_total
container_oom_events_total
container_pressure_cpu_stalled_seconds_total
container_pressure_cpu_waiting_seconds_total
container_pressure_io_stalled_seconds_total
container_pressure_io_waiting_seconds_total
container_pressure_memory_stalled_seconds_total
container_pressure_memory_waiting_seconds_total
container_processes
container_sockets
container_spec_cpu_period
container_spec_cpu_quota
container_spec_cpu_shares
container_spec_memory_limit_bytes
container_spec_memory_reservation_limit_bytes
container_spec_memory_swap_limit_bytes
container_start_time_seconds
container_threads
container_threads_max
container_ulimits_soft
`)

func TestDescriptors(t *testing.T) {
	want := everywhere
	if cgroup.Detect() == cgroup.V2 {
		want = append(slices.Clone(want), "container_memory_pgscan_total", "container_memory_pgsteal_total")
		slices.Sort(want)
	}
	var names []string
	for _, d := range Descriptors() {
		names = append(names, d.GetName())
		if d.GetHelp() == "" || !slices.IsSorted(d.GetLabelKeys()) || len(slices.Compact(slices.Clone(d.GetLabelKeys()))) != len(d.GetLabelKeys()) {
			t.Errorf("%v", d)
		}
		for _, key := range baseKeys {
			if !slices.Contains(d.GetLabelKeys(), key) {
				t.Errorf("%s has no label %s", d.GetName(), key)
			}
		}
	}
	if !slices.Equal(names, want) {
		t.Errorf("got %s\nwant %s", strings.Join(names, "\n"), strings.Join(want, "\n"))
	}
}

// full is a subject with a value for everything, each another one.
func full() *subject {
	n := uint64(0)
	v := func() uint64 { n += 3; return n }
	psi := func() usage.PSI {
		return usage.PSI{Known: true, Some: usage.Stall{Total: v() * 1e9}, Full: usage.Stall{Total: v() * 1e9}}
	}
	u := &usage.Usage{
		CPU: usage.CPU{Total: 2999999999, User: v() * 1e9, System: v() * 1e9, Periods: v(), ThrottledPeriods: v(), Throttled: v() * 1e9, BurstPeriods: v(), Burst: v() * 1e9, PSI: psi()},
		Memory: usage.Memory{
			Usage: 1 << 20, WorkingSet: v(), RSS: v(), Cache: v(), PageFaults: v(), MajorFaults: v(), Limit: v(), Swap: v(), SwapLimit: v(), PSI: psi(),
			Mapped: v(), Dirty: v(), Writeback: v(), ActiveFile: v(), InactiveFile: v(), OwnFaults: v(), OwnMajorFaults: v(), RefaultAnon: v(), RefaultFile: v(),
			Scanned: v(), Reclaimed: v(), Kernel: v(), Peak: 2 << 20, HighEvents: v(), MaxEvents: v(), OOMs: v(),
		},
		Tasks: usage.Tasks{Current: v(), Limit: usage.Unlimited},
		IO:    usage.IO{PSI: psi(), Devices: []usage.Device{{Major: 999, Minor: 1, ReadBytes: v(), WriteBytes: v(), DiscardBytes: v(), Reads: v(), Writes: v()}}},
		Huge:  []usage.Huge{{Size: "2MB", Usage: v(), Peak: v()}},
	}
	at := time.Unix(1000, 5)
	return &subject{
		labels: []string{"ctr", "/k/pod/abc", "img:1", "abc", "ns", "web"}, began: 7e9, made: 6e9, now: time.Unix(2000, 0),
		sample: &stats.Sample{Usage: u, Layer: stats.Layer{Bytes: 4096, Inodes: 2}, LayerAt: at, Processes: stats.Processes{Count: 2, Descriptors: 9, Sockets: 4}, ProcessesAt: at, OOMs: 5},
		container: &record.Container{PID: 1, Resources: &runtimeapi.LinuxContainerResources{
			CpuPeriod: 50000, CpuQuota: 20000, CpuShares: 512, MemoryLimitInBytes: 64 << 20, MemorySwapLimitInBytes: -1, Unified: map[string]string{"memory.min": "4096"},
		}},
		disk: &disk{device: "/dev/x1", whole: &usage.Device{Major: 999, Minor: 0}, bytes: 1 << 30, inodes: 100, freeInodes: 60},
		interfaces: []stats.Interface{
			{Name: "eth0", RxBytes: 1, RxPackets: 2, RxErrors: 3, RxDropped: 4, TxBytes: 5, TxPackets: 6, TxErrors: 7, TxDropped: 8}, {Name: "net1", RxBytes: 9},
		},
	}
}

// told are metrics as an exposition would show them.
func told(t *testing.T, metrics []*runtimeapi.Metric) map[string]*runtimeapi.Metric {
	t.Helper()
	keys := map[string][]string{}
	for _, d := range Descriptors() {
		keys[d.GetName()] = d.GetLabelKeys()
	}
	out := map[string]*runtimeapi.Metric{}
	for _, m := range metrics {
		k, declared := keys[m.GetName()]
		if !declared || len(k) != len(m.GetLabelValues()) {
			t.Errorf("metric %v against keys %v", m, k)
			continue
		}
		name := m.GetName()
		for i, v := range m.GetLabelValues() {
			if !slices.Contains(baseKeys, k[i]) {
				name += "," + k[i] + "=" + v
			} else if want := map[string]string{"container": "ctr", "id": "/k/pod/abc", "image": "img:1", "name": "abc", "namespace": "ns", "pod": "web"}[k[i]]; v != want {
				t.Errorf("%s: label %s is %q", name, k[i], v)
			}
		}
		if out[name] != nil {
			t.Errorf("%s is told twice", name)
		}
		out[name] = m
	}
	return out
}

func TestValues(t *testing.T) {
	s := full()
	var network list
	network.collect(s, theTable().network)
	got := told(t, append(s.metrics(), network.all...))
	for _, d := range Descriptors() {
		if d.GetName() == "container_hugetlb_max_usage_bytes" && !peaksKept() {
			continue
		}
		if !slices.ContainsFunc(slices.Collect(func(yield func(string) bool) {
			for name := range got {
				if !yield(name) {
					return
				}
			}
		}), func(name string) bool { return name == d.GetName() || strings.HasPrefix(name, d.GetName()+",") }) {
			t.Errorf("%s has no value", d.GetName())
		}
	}
	u := s.sample.Usage
	for name, want := range map[string]uint64{
		"container_cpu_usage_seconds_total,cpu=total":                                      2, // rounded down
		"container_cpu_user_seconds_total":                                                 u.CPU.User / 1e9,
		"container_cpu_cfs_throttled_seconds_total":                                        u.CPU.Throttled / 1e9,
		"container_pressure_memory_waiting_seconds_total":                                  u.Memory.PSI.Some.Total / 1e9,
		"container_pressure_io_stalled_seconds_total":                                      u.IO.PSI.Full.Total / 1e9,
		"container_memory_max_usage_bytes":                                                 2 << 20,
		"container_memory_failures_total,failure_type=pgfault,scope=container":             u.Memory.OwnFaults,
		"container_memory_failures_total,failure_type=pgmajfault,scope=hierarchy":          u.Memory.MajorFaults,
		"container_memory_failcnt":                                                         u.Memory.MaxEvents,
		"container_fs_usage_bytes,device=/dev/x1":                                          4096,
		"container_fs_inodes_free,device=/dev/x1":                                          60,
		"container_fs_writes_total,device=999:1":                                           u.IO.Devices[0].Writes,
		"container_fs_writes_total,device=999:0":                                           0, // the layers' own disk
		"container_blkio_device_usage_total,device=999:1,major=999,minor=1,operation=Read": u.IO.Devices[0].ReadBytes,
		"container_network_receive_packets_dropped_total,interface=eth0":                   4,
		"container_network_transmit_errors_total,interface=eth0":                           7,
		"container_network_receive_bytes_total,interface=net1":                             9,
		"container_spec_cpu_quota":                                                         20000,
		"container_spec_memory_swap_limit_bytes":                                           0,
		"container_spec_memory_reservation_limit_bytes":                                    4096,
		"container_threads_max":                                                            0,
		"container_sockets":                                                                4,
		"container_oom_events_total":                                                       5,
		"container_last_seen":                                                              2000,
		"container_start_time_seconds":                                                     7,
		"container_creation_time_seconds":                                                  6,
		"container_hugetlb_usage_bytes,pagesize=2MB":                                       u.Huge[0].Usage,
	} {
		if m := got[name]; m == nil || m.GetValue().GetValue() != want {
			t.Errorf("%s: %v, want %d", name, m, want)
		}
	}
	if m := got["container_sockets"]; m.GetTimestamp() != 1000*1e9+5 || got["container_threads"].GetTimestamp() != 0 {
		t.Errorf("the age of what was measured before: %v", m)
	}
}

// TestLeftOut tells nothing that is not known, or does not apply.
func TestLeftOut(t *testing.T) {
	s := full()
	s.sample.LayerAt, s.sample.ProcessesAt = time.Time{}, time.Time{}
	s.sample.Usage.CPU.PSI.Known = false
	s.container.Resources = &runtimeapi.LinuxContainerResources{HugepageLimits: []*runtimeapi.HugepageLimit{{PageSize: "2MB"}}}
	s.sample.Usage.Huge = []usage.Huge{{Size: "2MB"}, {Size: "1GB"}}
	got := told(t, s.metrics())
	for _, name := range []string{
		"container_fs_usage_bytes,device=/dev/x1", "container_processes", "container_pressure_cpu_stalled_seconds_total", "container_cpu_cfs_periods_total",
		"container_spec_cpu_quota", "container_hugetlb_usage_bytes,pagesize=2MB",
	} {
		if m := got[name]; m != nil {
			t.Errorf("%v", m)
		}
	}
	if got["container_hugetlb_usage_bytes,pagesize=1GB"] == nil || got["container_spec_cpu_shares"].GetValue().GetValue() != 1024 || got["container_spec_cpu_period"].GetValue().GetValue() != 100000 {
		t.Errorf("what was not limited: %v", got)
	}
	s.sample.Usage = nil // it has ended, killed
	if got := told(t, s.metrics()); len(got) != 1 || got["container_oom_events_total"].GetValue().GetValue() != 5 {
		t.Errorf("%v", got)
	}
	if s.sample.OOMs = 0; s.metrics() != nil {
		t.Errorf("a container that has ended or never ran: %v", s.metrics())
	}
}

func TestPod(t *testing.T) {
	s := full()
	p := &record.Pod{ID: "p", CgroupParent: "/k/pod", CreatedAt: 3e9, Config: &runtimeapi.PodSandboxConfig{Metadata: &runtimeapi.PodSandboxMetadata{Name: "web", Namespace: "ns"}}}
	metrics := ofPod(p, s.sample, s.interfaces, s.disk, s.now)
	if len(metrics) < 50 {
		t.Errorf("%d metrics", len(metrics))
	}
	for _, m := range metrics {
		want := "[ /k/pod   ns web]"
		if strings.HasPrefix(m.GetName(), "container_network_") {
			want = fmt.Sprintf("[POD /k/pod  %s p ns web]", m.GetLabelValues()[3])
		} else if len(m.GetLabelValues()) > len(baseKeys) {
			continue
		}
		if got := fmt.Sprint(m.GetLabelValues()); got != want {
			t.Errorf("%s: labels %s, want %s", m.GetName(), got, want)
		}
	}
	if got := ofPod(p, &stats.Sample{}, nil, nil, s.now); got != nil {
		t.Errorf("a pod without cgroup and network: %v", got)
	}
}

func TestDisk(t *testing.T) {
	d := readDisk(t.TempDir())
	if d == nil || d.bytes == 0 || d.device == "" {
		t.Errorf("%+v", d)
	}
	if d := readDisk("/no/such/directory"); d != nil {
		t.Errorf("%+v", d)
	}
	if name := deviceName(0, 99); name != "0:99" {
		t.Errorf("a device without a node: %q", name)
	}
}

func BenchmarkContainer(b *testing.B) {
	s := full()
	b.ReportAllocs()
	for b.Loop() {
		s.metrics()
	}
}
