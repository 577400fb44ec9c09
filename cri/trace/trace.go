package trace

import (
	"context"
	"fmt"

	"go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	oteltrace "go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc"
	"k8s.io/klog/v2"

	"github.com/varve-cri/varve/cri/config"
	"github.com/varve-cri/varve/cri/step"
)

// Tracing sends traces. Make it with Start.
type Tracing struct {
	provider *sdktrace.TracerProvider
	tracer   oteltrace.Tracer
}

// Start begins to send traces as cfg says; without an endpoint it returns nil,
// whose methods work and do nothing. A collector that cannot be reached is tried
// again by itself, and what is lost meanwhile is logged.
func Start(ctx context.Context, cfg config.Tracing, version string) (*Tracing, error) {
	if cfg.Endpoint == "" {
		return nil, nil //nolint:nilnil // tracing is off
	}
	// As with the kubelet's, the collector is a local agent and is spoken to in
	// the clear.
	exporter, err := otlptracegrpc.New(ctx, otlptracegrpc.WithEndpoint(cfg.Endpoint), otlptracegrpc.WithInsecure())
	if err != nil {
		return nil, fmt.Errorf("tracing.endpoint %s: %w", cfg.Endpoint, err)
	}
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { klog.ErrorS(err, "Traces are lost", "endpoint", cfg.Endpoint) }))
	t := &Tracing{provider: sdktrace.NewTracerProvider(
		sdktrace.WithBatcher(exporter),
		sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.TraceIDRatioBased(float64(cfg.SamplingRatePerMillion)/1e6))),
		sdktrace.WithResource(resource.NewSchemaless(attribute.String("service.name", "varved"), attribute.String("service.version", version))),
	)}
	t.tracer = t.provider.Tracer("github.com/varve-cri/varve")
	return t, nil
}

// Options make a gRPC server trace its requests.
func (t *Tracing) Options() []grpc.ServerOption {
	if t == nil {
		return nil
	}
	return []grpc.ServerOption{grpc.StatsHandler(otelgrpc.NewServerHandler(
		otelgrpc.WithTracerProvider(t.provider), otelgrpc.WithPropagators(propagation.TraceContext{}),
	))}
}

// Observer traces the steps of operations; it is nil when tracing is off.
func (t *Tracing) Observer() step.Observer {
	if t == nil {
		return nil
	}
	return steps{t.tracer}
}

// Close sends what has not been sent yet.
func (t *Tracing) Close(ctx context.Context) error {
	if t == nil {
		return nil
	}
	return t.provider.Shutdown(ctx)
}

// steps is an observer that makes a span of every step of a request that is
// traced.
type steps struct{ tracer oteltrace.Tracer }

// Step implements step.Observer.
func (s steps) Step(ctx context.Context, op step.Op, name string) (context.Context, func(error)) {
	if !oteltrace.SpanContextFromContext(ctx).IsSampled() {
		return ctx, nil
	}
	ctx, span := s.tracer.Start(ctx, op.Verb+" "+name, oteltrace.WithAttributes(
		attribute.String("varve.step", name), attribute.String("varve.operation", op.Verb),
		attribute.String("varve.object", op.Object), attribute.String("varve.id", op.ID),
	))
	return ctx, func(err error) {
		if err != nil {
			span.RecordError(err)
			span.SetStatus(codes.Error, err.Error())
		}
		span.End()
	}
}

// Describe adds to the span of a request, if it is traced, what the request is
// about, given as klog's keys and values.
func Describe(ctx context.Context, objects func() []any) {
	span := oteltrace.SpanFromContext(ctx)
	if !span.IsRecording() {
		return
	}
	values := objects()
	for i := 0; i+1 < len(values); i += 2 {
		span.SetAttributes(attribute.String(fmt.Sprint("varve.", values[i]), fmt.Sprint(values[i+1])))
	}
}
