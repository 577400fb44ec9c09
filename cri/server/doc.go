// Package server answers the CRI's RuntimeService over gRPC. The ImageService
// is in cri/images, statistics are read by cri/stats.
//
// It ties the layers together and decides as little as it can. What a request
// means is planned by cri/plan (pure), what must outlive the daemon is kept by
// cri/record, an operation is a list of steps run by cri/step, images come from
// imagestore, processes from shim, addresses from cri/network.
//
// # How it is built
//
// Each pod and container is one object in the table. Its record hangs on an
// atomic pointer and is never changed in place: a writer clones it, calls the
// method of the event, saves the file, and swaps the pointer. Readers (List,
// Status, stats) take no lock at all.
//
// Operations on one object exclude each other by a lock that honours the
// caller's deadline; operations on different objects never meet. Exits do not
// take that lock, so that a stop can hold it while it waits for one.
//
// A container whose shim runs has one goroutine, which waits for the exit.
//
// # After a crash
//
// There is no other shutdown than a crash. At start every record becomes an
// object at once and CRI is served; each object is then adopted on its own, under
// its own lock, so that a request for it waits for its adoption and for nothing
// else.
//
// # What the host sees of a pod
//
// The namespaces that are pinned in the pod's directory, and, from the first
// container on that asks for a pod-wide /dev/shm, one tmpfs beside them. It has to
// be pinned like a namespace: it belongs to the pod, not to any container, and
// must survive a crash of the daemon.
//
// # What it does not do
//
// No checkpoints yet: these answer Unimplemented with their names. How clients
// of Exec, Attach and PortForward are served is in cri/streaming, what runs for
// them in cri/session and cri/portforward.
package server
