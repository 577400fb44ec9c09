// Package fault is what a request can fail with, and what of it goes over the wire: the
// kinds of errors, the gRPC code of each, and the words that the kubelet looks for at
// the start of a message (k8s.io/cri-api/pkg/errors).
//
// It decides no request: who refuses one makes the error.
package fault
