package rpc

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync/atomic"
	"time"

	oteltrace "go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"k8s.io/klog/v2"

	"github.com/varve-cri/varve/cri/metrics"
	"github.com/varve-cri/varve/cri/serial"
	"github.com/varve-cri/varve/cri/trace"
)

// Interceptor is between gRPC and the services.
type Interceptor struct {
	// Calls counts the requests.
	Calls *metrics.Calls
	// Check refuses what no request may hold, before a handler sees it.
	Check func(req any) error
	// Status turns an error into one with a gRPC status.
	Status func(error) error
	// Objects gives the names and ids of what a request is about, as klog's keys and
	// values. What it returns is called when a line is written, after the request.
	Objects func(req any) func() []any

	last atomic.Uint64 // number of a request
}

// Options make a gRPC server use the interceptor.
func (i *Interceptor) Options() []grpc.ServerOption {
	return []grpc.ServerOption{grpc.UnaryInterceptor(i.unary), grpc.StreamInterceptor(i.stream)}
}

func (i *Interceptor) unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, h grpc.UnaryHandler) (resp any, err error) {
	begin := time.Now()
	method := i.Calls.Method(info.FullMethod)
	var objects func() []any
	if !method.Looks {
		objects = i.Objects(req)
		ctx = i.named(ctx)
		var cancel context.CancelFunc
		ctx, cancel = ahead(ctx, begin)
		defer cancel()
	}
	defer func() {
		if r := recover(); r != nil {
			err = &serial.PanicError{Value: r, Stack: debug.Stack()}
		}
		err = i.finish(ctx, method.Name, err)
		took := time.Since(begin)
		method.Observe(status.Code(err), took)
		if objects == nil {
			objects = func() []any { return i.Objects(req)() }
		}
		trace.Describe(ctx, objects)
		tell(ctx, method, took, err, objects)
	}()
	if err := i.Check(req); err != nil {
		return nil, err
	}
	return h(ctx, req)
}

// checked is a stream whose request is checked when it is read.
type checked struct {
	grpc.ServerStream
	check func(req any) error
}

// RecvMsg reads the request.
func (c checked) RecvMsg(m any) error {
	if err := c.ServerStream.RecvMsg(m); err != nil {
		return err
	}
	return c.check(m)
}

func (i *Interceptor) stream(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, h grpc.StreamHandler) (err error) {
	begin := time.Now()
	method := i.Calls.Method(info.FullMethod)
	ctx := ss.Context()
	defer func() {
		if r := recover(); r != nil {
			err = &serial.PanicError{Value: r, Stack: debug.Stack()}
		}
		err = i.finish(ctx, method.Name, err)
		took := time.Since(begin)
		method.Observe(status.Code(err), took)
		tell(ctx, method, took, err, func() []any { return nil })
	}()
	return h(srv, checked{ss, i.Check})
}

// named gives the request a number, which all its lines have, and the id of its
// trace if it is traced.
func (i *Interceptor) named(ctx context.Context) context.Context {
	values := []any{"request", i.last.Add(1)}
	if span := oteltrace.SpanContextFromContext(ctx); span.IsSampled() {
		values = append(values, "trace", span.TraceID().String())
	}
	return klog.NewContext(ctx, klog.LoggerWithValues(klog.Background(), values...))
}

// margin is what the answer to a request that runs out of time has for its way
// to the client, at most; a request of less than twenty times as much gives a
// twentieth of its time.
const margin = 100 * time.Millisecond

// ahead ends the request's context a moment before its client's patience ends. A
// client that has stopped waiting makes up a message of its own, "context
// deadline exceeded", and nobody reads ours, which says what took so long.
func ahead(ctx context.Context, begin time.Time) (context.Context, context.CancelFunc) {
	deadline, ok := ctx.Deadline()
	if !ok {
		return ctx, func() {}
	}
	left := deadline.Sub(begin)
	return context.WithDeadline(ctx, deadline.Add(-min(margin, max(left, 0)/20)))
}

func (i *Interceptor) panicked(ctx context.Context, method string, p *serial.PanicError) error {
	klog.FromContext(ctx).Error(nil, "Panic in a request", "method", method, "panic", p.Value, "stack", string(p.Stack))
	return status.Error(codes.Internal, fmt.Sprintf("%s: internal error: %v", method, p.Value))
}

func (i *Interceptor) finish(ctx context.Context, method string, err error) error {
	var p *serial.PanicError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &p): // here, or in the work that the request has joined
		return i.panicked(ctx, method, p)
	case status.Code(err) == codes.Unimplemented:
		return status.Errorf(codes.Unimplemented, "%s is not implemented yet", method)
	}
	return i.Status(err)
}

// tell writes one line per call: those that change something always, those that
// look only when asked for, errors always.
func tell(ctx context.Context, method *metrics.Method, took time.Duration, err error, objects func() []any) {
	level := 2
	if method.Looks {
		level = 5
	}
	log := klog.FromContext(ctx)
	values := func() []any {
		return append([]any{"method", method.Name, "took", took.Round(time.Microsecond)}, objects()...)
	}
	switch {
	case err == nil || status.Code(err) == codes.NotFound && level == 5:
		if log = log.V(level); !log.Enabled() {
			return
		}
		if err == nil {
			log.Info("Request", values()...)
		} else {
			log.Info("Request", append(values(), "err", err)...)
		}
	default:
		log.Info("Request ended with an error", append(values(), "err", err)...)
	}
}
