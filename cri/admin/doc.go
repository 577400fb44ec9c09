// Package admin answers the operator over a socket of its own: HTTP/1.1 with JSON,
// so that curl will do.
//
//	GET  /v1/version
//	GET  /v1/pulls            that run, and the last that ended
//	GET  /v1/pulls?watch=1    a line of JSON for each change
//	POST /v1/pulls            {"image": NAME}: pulls, and tells the progress in lines
//	GET  /v1/images[?ref=NAME]
//	GET  /v1/layers[?ref=NAME]
//	GET  /v1/history?ref=NAME
//	GET  /v1/store
//	GET  /v1/operations
//	POST /v1/reload           reads the configuration again, as SIGHUP does
//	GET  /metrics             for Prometheus, whether or not metrics.address serves them
//	GET  /debug/pprof/        the Go runtime's profiles of the daemon
//
// Package wire has the messages. The socket is for root alone, whoever opened it:
// the kernel's word for the peer is asked. A client that goes away cancels what it
// asked for. What the daemon is told here changes nothing but images: pods and
// containers are the kubelet's, through the CRI.
package admin
