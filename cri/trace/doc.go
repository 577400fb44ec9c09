// Package trace sends traces of requests to an OpenTelemetry collector, over
// OTLP by gRPC: a span for each request, the child of the span whose W3C context
// the kubelet has sent with it, and below that one for each step.
//
// It is off unless an endpoint is configured, and then costs nothing: no tracer
// is made, and no step is observed. It does not carry metrics or logs; lines of
// the log have the id of their request's trace.
package trace
