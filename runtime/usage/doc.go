// Package usage reads what cgroups use: processor, memory, pressure, tasks, input
// and output, huge pages; on v1, v2 and hybrid hosts, from the files of package
// cgroup's groups. A Meter keeps the files open that are read again and again.
//
// It starts no timer and no goroutine, computes no rates, and knows nothing of
// containers, networks or disks.
package usage
