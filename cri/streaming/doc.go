// Package streaming is the HTTP server that Exec, Attach and PortForward send
// their callers to.
//
// The protocols are those of k8s.io/cri-streaming: SPDY/3.1, and WebSocket up
// to version 4 of the channel protocol. Version 5, with its half-close, and SPDY
// tunnelled through a WebSocket, which is what port-forward clients use, are
// answered here, so that a client needs no kubelet in between to translate.
//
// # Tokens
//
// A call of the CRI returns a URL with a token of 128 random bits. It is good
// for one request, of the kind it was given out for, within a minute; then it is
// forgotten, used or not. Nothing but the token admits a client, so the server
// listens on loopback unless it has a certificate.
//
// # A client that goes
//
// A connection that was upgraded is nobody's in net/http, and the protocols
// notice a peer's end only when they come to read it, which they do not while
// somebody does not take the input that came before. So each connection is
// watched in an epoll instance for the peer's hang-up alone: that costs nothing
// for the data that flows, and cancels the context that the session runs under.
// A connection on which nothing moves for the idle timeout is closed, whatever
// hangs there.
//
// A client that dies while it has sent more input than the kernel's buffers hold,
// to a command that reads none of it, cannot even send its end: that waits behind
// the input in the client's kernel. When the client is on this machine, as a kubelet
// is, that kernel is ours: once a second it is asked about the connections that have
// unread input and on which nothing moves. A client on another machine is noticed when
// its kernel gives up, minutes later, or at the idle timeout.
//
// # What it does not do
//
// It knows no containers: what a stream is joined to is the Runtime's business.
package streaming
