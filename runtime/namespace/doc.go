// Package namespace makes the user, network, IPC and UTS namespaces of a pod and
// pins them to files, so that they live without any process.
//
// A namespace is pinned by a bind mount of its nsfs file. That is all that a
// pod leaves in the host's mount table.
//
// Namespaces are made on a thread of their own, which then ends: it is never
// the process's first thread, because that one stands for the process in
// /proc/PID, and no other goroutine ever runs on it. The package makes no PID
// namespaces: the first os/exec of a program forks a probe, which would become
// the init of one. It does not attach pods to networks.
package namespace
