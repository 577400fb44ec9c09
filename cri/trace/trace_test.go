package trace

import (
	"context"
	"net"
	"sync"
	"testing"
	"time"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/grpc"

	"github.com/varve-cri/varve/cri/config"
	"github.com/varve-cri/varve/cri/step"
)

func TestOff(t *testing.T) {
	off, err := Start(t.Context(), config.Tracing{SamplingRatePerMillion: 7}, "test")
	if off != nil || err != nil || off.Observer() != nil || off.Options() != nil || off.Close(t.Context()) != nil {
		t.Errorf("%v, %v", off, err)
	}
	Describe(t.Context(), func() []any { t.Error("a request that is not traced is described"); return nil })
}

// receiver counts the spans that it gets.
type receiver struct {
	collector.UnimplementedTraceServiceServer
	mu    sync.Mutex
	names []string // guarded by mu
}

func (r *receiver) Export(_ context.Context, q *collector.ExportTraceServiceRequest) (*collector.ExportTraceServiceResponse, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, rs := range q.GetResourceSpans() {
		for _, ss := range rs.GetScopeSpans() {
			for _, s := range ss.GetSpans() {
				r.names = append(r.names, s.GetName())
			}
		}
	}
	return &collector.ExportTraceServiceResponse{}, nil
}

// What is sampled is sent before Close returns; steps outside of a traced request
// are not, whatever the rate.
func TestRateAndClose(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &receiver{}
	g := grpc.NewServer()
	collector.RegisterTraceServiceServer(g, r)
	go g.Serve(l) //nolint:errcheck // it ends with the test
	defer g.Stop()
	for rate, want := range map[int32]int{0: 0, 1000000: 2} {
		r.names = nil
		tracing, err := Start(t.Context(), config.Tracing{Endpoint: l.Addr().String(), SamplingRatePerMillion: rate}, "test")
		if err != nil {
			t.Fatal(err)
		}
		ctx, span := tracing.tracer.Start(t.Context(), "request")
		e := step.Engine{Observer: tracing.Observer()}
		steps := []step.Step{{Name: "a", Do: func(context.Context) error { return nil }}}
		for _, ctx := range []context.Context{ctx, t.Context()} {
			if err := e.Run(ctx, step.Op{Verb: "V"}, steps); err != nil {
				t.Fatal(err)
			}
		}
		span.End()
		end, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := tracing.Close(end); err != nil {
			t.Fatal(err)
		}
		if len(r.names) != want {
			t.Errorf("rate %d: sent %v", rate, r.names)
		}
	}
}

// A collector that is not there keeps nobody waiting.
func TestNoCollector(t *testing.T) {
	tracing, err := Start(t.Context(), config.Tracing{Endpoint: "127.0.0.1:1", SamplingRatePerMillion: 1000000}, "test")
	if err != nil {
		t.Fatal(err)
	}
	_, span := tracing.tracer.Start(t.Context(), "request")
	span.End()
	short, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := tracing.Close(short); err == nil {
		t.Error("sent to nobody")
	}
}
