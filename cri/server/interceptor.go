package server

import (
	"context"
	"runtime/debug"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"k8s.io/klog/v2"
)

// Unary is the interceptor of unary calls: it logs, maps errors to codes,
// names what is not implemented and turns a panic into an error.
func Unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, h grpc.UnaryHandler) (resp any, err error) {
	begin := time.Now()
	method := info.FullMethod[strings.LastIndexByte(info.FullMethod, '/')+1:]
	defer func() {
		if r := recover(); r != nil {
			err = panicked(method, r)
		}
		err = finish(method, err)
		log(method, begin, err)
	}()
	return h(ctx, req)
}

// Stream is the interceptor of streaming calls.
func Stream(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, h grpc.StreamHandler) (err error) {
	begin := time.Now()
	method := info.FullMethod[strings.LastIndexByte(info.FullMethod, '/')+1:]
	defer func() {
		if r := recover(); r != nil {
			err = panicked(method, r)
		}
		err = finish(method, err)
		log(method, begin, err)
	}()
	return h(srv, ss)
}

func panicked(method string, r any) error {
	klog.ErrorS(nil, "Panic in a request", "method", method, "panic", r, "stack", string(debug.Stack()))
	return coded(codes.Internal, "%s: internal error: %v", method, r)
}

func finish(method string, err error) error {
	if status.Code(err) == codes.Unimplemented {
		return status.Errorf(codes.Unimplemented, "%s is not implemented yet", method)
	}
	return toStatus(err)
}

// log writes one line per call: those that change something always, the
// kubelet's polling only when asked for, errors always.
func log(method string, begin time.Time, err error) {
	level := klog.Level(2)
	for _, quiet := range []string{"List", "Status", "Version", "Stats", "Info", "ExecSync", "RuntimeConfig", "Stream"} {
		if strings.Contains(method, quiet) {
			level = 5
		}
	}
	took := time.Since(begin).Round(time.Microsecond)
	switch {
	case err == nil:
		klog.V(level).InfoS("Request", "method", method, "took", took)
	case status.Code(err) == codes.NotFound && level == 5:
		klog.V(level).InfoS("Request", "method", method, "took", took, "err", err)
	default:
		klog.InfoS("Request ended with an error", "method", method, "took", took, "err", err)
	}
}
