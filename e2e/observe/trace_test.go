package observe

import (
	"context"
	"encoding/hex"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/varve-cri/varve/e2e/harness"
)

// receiver is an OpenTelemetry collector that keeps what it gets.
type receiver struct {
	collector.UnimplementedTraceServiceServer
	address string

	mu    sync.Mutex
	spans []*tracepb.Span // guarded by mu
	from  map[string]bool // the services that sent them; guarded by mu
}

func (r *receiver) Export(_ context.Context, q *collector.ExportTraceServiceRequest) (*collector.ExportTraceServiceResponse, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, rs := range q.GetResourceSpans() {
		for _, a := range rs.GetResource().GetAttributes() {
			if a.GetKey() == "service.name" {
				r.from[a.GetValue().GetStringValue()] = true
			}
		}
		for _, ss := range rs.GetScopeSpans() {
			r.spans = append(r.spans, ss.GetSpans()...)
		}
	}
	return &collector.ExportTraceServiceResponse{}, nil
}

func receive(t *testing.T) *receiver {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &receiver{address: l.Addr().String(), from: map[string]bool{}}
	g := grpc.NewServer()
	collector.RegisterTraceServiceServer(g, r)
	go g.Serve(l) //nolint:errcheck // it ends with the test
	t.Cleanup(g.Stop)
	return r
}

// of waits for the spans of a trace until there is one with the name.
func (r *receiver) of(t *testing.T, trace, name string) (spans []*tracepb.Span) {
	t.Helper()
	harness.Eventually(t, "the collector gets "+name, func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		spans = nil
		for _, s := range r.spans {
			if hex.EncodeToString(s.GetTraceId()) == trace {
				spans = append(spans, s)
			}
		}
		return slices.ContainsFunc(spans, func(s *tracepb.Span) bool { return s.GetName() == name })
	})
	return spans
}

func attributes(s *tracepb.Span) map[string]string {
	m := map[string]string{}
	for _, a := range s.GetAttributes() {
		m[a.GetKey()] = a.GetValue().GetStringValue()
	}
	return m
}

// The kubelet's span is the request's parent, and the request's that of its steps.
func TestTraces(t *testing.T) {
	h := suite.Test(t)
	r := receive(t)
	t.Cleanup(func() { h.Kill(t); h.Restart(t) }) // when the file is what it was
	configure(t, func(c map[string]any) { c["tracing"] = map[string]any{"endpoint": r.address} })
	h.Kill(t)
	h.Restart(t)

	const trace, parent = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
	at := len(logSince(t, 0))
	traced := metadata.AppendToOutgoingContext(h.Ctx, "traceparent", "00-"+trace+"-"+parent+"-01")
	config := h.PodConfig(harness.OwnNetwork)
	pod, err := h.RunPodSandbox(traced, &runtimeapi.RunPodSandboxRequest{Config: config})
	h.Must(err)
	wrong := &runtimeapi.RunPodSandboxRequest{Config: config, RuntimeHandler: "none"}
	if _, err := h.RunPodSandbox(traced, wrong); err == nil {
		t.Error("a handler that is not there")
	}
	const request = "runtime.v1.RuntimeService/RunPodSandbox"
	spans := r.of(t, trace, request)
	var root *tracepb.Span
	steps := map[string]*tracepb.Span{}
	for _, s := range spans {
		switch {
		case s.GetName() == request && attributes(s)["varve.podID"] == "" && root == nil:
			root = s
		case s.GetName() != request:
			steps[s.GetName()] = s
		}
	}
	if root == nil || hex.EncodeToString(root.GetParentSpanId()) != parent || root.GetKind() != tracepb.Span_SPAN_KIND_SERVER {
		t.Fatalf("the request's span is not the client's child: %v", root)
	}
	for _, name := range []string{"record", "namespaces", "network", "files", "ready"} {
		s := steps["RunPodSandbox "+name]
		if s == nil || string(s.GetParentSpanId()) != string(root.GetSpanId()) {
			t.Errorf("the span of step %s is not the request's child: %v", name, s)
			continue
		}
		got := attributes(s)
		if got["varve.id"] != pod.GetPodSandboxId() || got["varve.object"] != "e2e/"+config.GetMetadata().GetName() || got["varve.step"] != name {
			t.Errorf("attributes of %s: %v", name, got)
		}
		if s.GetStartTimeUnixNano() < root.GetStartTimeUnixNano() || s.GetEndTimeUnixNano() > root.GetEndTimeUnixNano() {
			t.Errorf("step %s is not within its request", name)
		}
	}
	if got := attributes(root)["varve.podUID"]; got != config.GetMetadata().GetUid() {
		t.Errorf("the request's span is of pod %q", got)
	}
	r.mu.Lock()
	if !r.from["varved"] || len(r.from) != 1 {
		t.Errorf("the spans are of %v", r.from)
	}
	r.mu.Unlock()
	harness.Eventually(t, "a line has the trace's id", func() bool { return strings.Contains(logSince(t, at), `trace="`+trace+`"`) })

	// What the client does not trace is not traced: the rate is 0.
	_, err = h.StopPodSandbox(h.Ctx, &runtimeapi.StopPodSandboxRequest{PodSandboxId: pod.GetPodSandboxId()})
	h.Must(err)
	_, err = h.RemovePodSandbox(metadata.AppendToOutgoingContext(h.Ctx, "traceparent", "00-"+trace+"-"+parent+"-01"), &runtimeapi.RemovePodSandboxRequest{PodSandboxId: pod.GetPodSandboxId()})
	h.Must(err)
	r.of(t, trace, "runtime.v1.RuntimeService/RemovePodSandbox")
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.spans {
		if strings.Contains(s.GetName(), "StopPodSandbox") || hex.EncodeToString(s.GetTraceId()) != trace {
			t.Errorf("traced without being asked: %s", s.GetName())
		}
	}
}
