// Package metric makes the metrics of pods and containers that a kubelet with the
// feature gate PodAndContainerStatsFromCRI serves at /metrics/cadvisor: names, labels,
// types and units are cAdvisor's, from tables of families that also give the
// descriptors. So every metric has a descriptor, with as many values as keys.
//
// Values are whole numbers, as the CRI has them: a time in seconds is rounded down.
// What the kernel does not count for a cgroup has no metric: pages scanned and
// reclaimed on cgroup v1, and the queues, merges and times of block devices, which
// cAdvisor has for the machine's root group alone.
//
// A container's metrics are some 23 KiB of an answer. The kubelet takes 16 MiB, so that one with
// more than 600 containers needs its feature gate CRIListStreaming.
//
// The package reads a machine's devices and file system. Cgroups, layers, processes and networks are
// read by package stats. The daemon's own metrics are those of package metrics.
package metric
