package rpc

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/klog/v2"

	"github.com/varve-cri/varve/cri/metrics"
	"github.com/varve-cri/varve/cri/serial"
)

const service = "/runtime.v1.RuntimeService/"

// call sends one request through an interceptor; what was logged at level 2 comes
// back as well.
func call(t *testing.T, ctx context.Context, method string, h grpc.UnaryHandler) (logged string, err error) { //nolint:revive // the test is first
	t.Helper()
	var b bytes.Buffer
	set := flag.NewFlagSet("klog", flag.ContinueOnError)
	klog.InitFlags(set)
	for name, value := range map[string]string{"v": "2", "logtostderr": "false", "stderrthreshold": "FATAL"} {
		if err := set.Set(name, value); err != nil {
			t.Fatal(err)
		}
	}
	klog.SetOutput(&b)
	defer func() {
		_ = set.Set("logtostderr", "true")
		_ = set.Set("v", "0")
	}()
	i := &Interceptor{
		Calls:  metrics.NewCalls(&runtimeapi.RuntimeService_ServiceDesc),
		Check:  func(any) error { return nil },
		Status: func(err error) error { return status.Error(codes.FailedPrecondition, err.Error()) },
		Objects: func(req any) func() []any {
			return func() []any { return []any{"pod", klog.KRef("ns", "name"), "podID", req} }
		},
	}
	_, err = i.unary(ctx, "id9", &grpc.UnaryServerInfo{FullMethod: service + method}, h)
	klog.Flush()
	return b.String(), err
}

func answers(err error) grpc.UnaryHandler {
	return func(context.Context, any) (any, error) { return nil, err }
}

func TestErrorsAndLines(t *testing.T) {
	for name, c := range map[string]struct {
		method string
		h      grpc.UnaryHandler
		code   codes.Code
		err    string
		log    []string // none: no line
	}{
		"change":        {"StopPodSandbox", answers(nil), codes.OK, "", []string{`"Request" request=1 method="StopPodSandbox"`, `pod="ns/name" podID="id9"`}},
		"look":          {"PodSandboxStatus", answers(nil), codes.OK, "", nil},
		"failed look":   {"PodSandboxStatus", answers(errors.New("no")), codes.FailedPrecondition, "no", []string{"ended with an error", `pod="ns/name"`}},
		"not there yet": {"CheckpointPod", answers(status.Error(codes.Unimplemented, "x")), codes.Unimplemented, "CheckpointPod is not implemented yet", []string{"ended with an error"}},
		"panic":         {"StopContainer", func(context.Context, any) (any, error) { panic("boom") }, codes.Internal, "StopContainer: internal error: boom", []string{"Panic in a request", "interceptor_test.go", "ended with an error"}},
		"joined panic":  {"StopContainer", answers(&serial.PanicError{Value: "boom", Stack: []byte("here.go")}), codes.Internal, "StopContainer: internal error: boom", []string{"Panic in a request", "here.go"}},
	} {
		t.Run(name, func(t *testing.T) {
			log, err := call(t, t.Context(), c.method, c.h)
			if status.Code(err) != c.code || err != nil && status.Convert(err).Message() != c.err {
				t.Errorf("got %v", err)
			}
			for _, words := range c.log {
				if !strings.Contains(log, words) {
					t.Errorf("the log lacks %q:\n%s", words, log)
				}
			}
			if c.log == nil && log != "" {
				t.Errorf("logged %s", log)
			}
		})
	}
}

// A line that is written during the request has its number.
func TestLinesOfARequestHaveItsNumber(t *testing.T) {
	log, _ := call(t, t.Context(), "StopPodSandbox", func(ctx context.Context, _ any) (any, error) {
		klog.FromContext(ctx).Info("In the middle")
		return nil, nil
	})
	if strings.Count(log, "request=1") != 2 {
		t.Errorf("logged %s", log)
	}
}

// The answer to a request that runs out of time must be there before the client
// stops listening.
func TestRequestsEndAheadOfTheirDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // no time passes on the way
		for given, least := range map[time.Duration]time.Duration{10 * time.Minute: margin, time.Second: 50 * time.Millisecond} {
			ctx, cancel := context.WithTimeout(t.Context(), given)
			defer cancel()
			client, _ := ctx.Deadline()
			for method, ahead := range map[string]bool{"StopPodSandbox": true, "ListContainers": false} {
				_, _ = call(t, ctx, method, func(ctx context.Context, _ any) (any, error) {
					own, ok := ctx.Deadline()
					if early := client.Sub(own); !ok || ahead && (early != least) || !ahead && early != 0 {
						t.Errorf("%s with %v ends %v early", method, given, early)
					}
					return nil, nil
				})
			}
		}
		_, _ = call(t, t.Context(), "StopPodSandbox", func(ctx context.Context, _ any) (any, error) {
			if _, ok := ctx.Deadline(); ok {
				t.Error("a deadline out of nowhere")
			}
			return nil, nil
		})
	})
}

func BenchmarkLook(b *testing.B) {
	i := &Interceptor{
		Calls: metrics.NewCalls(&runtimeapi.RuntimeService_ServiceDesc), Status: func(err error) error { return err }, Check: func(any) error { return nil },
		Objects: func(any) func() []any { return func() []any { return nil } },
	}
	info := &grpc.UnaryServerInfo{FullMethod: service + "ContainerStats"}
	h := answers(nil)
	b.ReportAllocs()
	for b.Loop() {
		_, _ = i.unary(b.Context(), nil, info, h)
	}
}
