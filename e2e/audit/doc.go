// Package audit finds what a varve node holds of the machine: mounts, pinned
// namespaces, cgroups in every hierarchy, processes, sockets, network
// interfaces, address leases and firewall rules. What is left of it when a pod
// or the node is gone is a leak.
//
// It reads the kernel and the file system only, never varve's own records: a
// leak is by definition what the records do not know. It finds nothing that
// is not marked by the node's directory, cgroup, bridge or network name.
package audit
