// Package cgroup makes, limits and removes the control groups of
// containers and pods, on cgroup v1, v2 and hybrid hosts, with the cgroupfs
// driver, over github.com/opencontainers/cgroups.
//
// A path such as "/kubepods/pod1/ctr" names one Group: a directory at that
// path in every hierarchy of the host. The hierarchies are looked up once per
// process; no call reads the mount table after that.
//
// The package puts no process into a group: whoever makes the process writes
// to cgroup.procs or clones into V2Path. It does not know systemd, and it does
// not watch for events: OOMEventsPath names the file to watch. What groups use is
// read by package usage.
//
// On a hybrid host a limit goes to the hierarchy that has its controller
// (hugetlb may live in v2, and then its unified keys can be set as well), and kill and freeze
// use the v2 group's core files. A limit whose controller the host
// does not have is an error (ErrNoController) that names the limit, with one
// exception: a hugetlb limit of 0 is then ignored, because a kubelet sends one
// for each page size with every container.
package cgroup
