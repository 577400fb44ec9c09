// Package logdir makes the directory that a container's log is in. A kubelet
// has made it already; other clients leave it to the runtime.
//
// The directory is below the pod's, and no part of the way may be a symbolic
// link: a pod that can write to the host's log directories would otherwise have
// directories made for it anywhere (the class of CVE-2024-45310, CVE-2025-0750).
// The log file itself is the shim's.
package logdir
