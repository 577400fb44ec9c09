// Package shim is the daemon's side of the shim: it launches shims, starts
// containers in them, finds them again after a restart, and hands their news
// (an exit, the end of an exec) to the caller without polling.
//
// # Concepts
//
// A *shim* is the process that owns one running container: parent, subreaper,
// standard streams, log file, exit status. It outlives the daemon. A *spare*
// is a shim that has no work yet: it waits with an empty mount namespace ready,
// so that neither exec nor namespace copy is on the path of a start. The
// Launcher keeps a few of them; they exit when the daemon does.
//
// A container's *directory* holds all that the shim leaves behind:
//
//	shim.lock   held (an open file description lock) for as long as the shim lives
//	shim.sock   where it listens (SOCK_SEQPACKET, mode 0600, same uid only)
//	exit        the exit record, there once the container has exited
//
// The record is written before the exit is announced, and the shim goes away
// at once after the announcement. So the truth about a container is, in this
// order: an exit record (it has exited so), a held lock (it runs, Dial it), or
// neither (ErrGone: the shim was killed; what is left of the container is in
// its cgroup and is the caller's to kill).
//
// An exec belongs to the connection that asked for it: when the daemon dies the
// shim kills it, with everything it started. The container itself, its log and
// its standard input do not depend on any connection.
//
// # What this package does not do
//
// It makes no cgroups, mounts or namespaces and removes none: the caller makes
// them before Start and removes them after the exit. It does not decide what a
// container is (runtime/plan does) and keeps no record of containers. It does
// not copy a container's output: the shim does that.
package shim
