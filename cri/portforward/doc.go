// Package portforward joins a stream with a port on a pod's loopback address.
//
// The socket is made inside the pod's network namespace by a thread that does
// nothing else and ends; a socket stays in the namespace that it was made in,
// so everything after that happens in Go's poller and holds no thread. No
// program is executed.
//
// # What it does not do
//
// It finds no pods and speaks no protocol with the client.
package portforward
