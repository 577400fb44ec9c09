// Package request refuses what no request may hold, whatever the state of the
// node is: values of enumerations that are not known, NUL bytes, names that would
// be read as something else by a shell, a log or a network plugin, paths that
// climb, numbers that mean nothing, and what is larger than anything that
// Kubernetes can send.
//
// Each request of both services is looked at once, before its handler, by Check.
// It costs a walk over the fields that are set: some microseconds for a container,
// less than one for an id. The error names the field as the API does.
//
// It does not ask whether a request can be carried out on this node: that is what
// cri/plan finds out.
//
// # Bounds
//
// A pod in Kubernetes is 1.5 MiB at most (etcd's limit), its annotations 256 KiB
// together. The kubelet puts parts of it into labels and annotations of its own. So
// a map of labels or annotations may have 2 MiB, any other text 1 MiB, a request 8
// MiB (the gRPC server refuses one of more than 16 before it is read). An argument
// or a variable of more than 128 KiB, and a path of more than 4095 bytes, could not
// be used: the kernel has no room for them.
package request
