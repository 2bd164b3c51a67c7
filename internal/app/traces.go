package app

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/exaring/otelpgx"
	"github.com/jackc/pgx/v5"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/sdk/resource"
	"go.opentelemetry.io/otel/sdk/trace"

	"github.com/concord-home/concord"
	"github.com/concord-home/concord/internal/spans"
	"github.com/concord-home/concord/pgretry"
	"github.com/concord-home/concord/pgretry/pgretryotel"
)

// flushTimeout bounds the wait for the last spans when Concord stops.
const flushTimeout = 3 * time.Second

// TraceConfig says where spans go. Everything else (headers, certificates,
// compression, sampling, the service's name) comes from OpenTelemetry's own
// variables, which the exporter reads.
type TraceConfig struct {
	On       bool
	Endpoint string // base address of an OTLP receiver; "" takes the variables'
	Protocol string // "http/protobuf" or "grpc"; "" means http/protobuf
}

// TracesOfEnvironment is what OpenTelemetry's variables say: on when they name a
// receiver and nothing switches traces off.
func TracesOfEnvironment() TraceConfig {
	first := func(names ...string) (value string) {
		for _, name := range names {
			value = cmp.Or(value, os.Getenv(name))
		}
		return value
	}
	off := strings.EqualFold(os.Getenv("OTEL_SDK_DISABLED"), "true") || os.Getenv("OTEL_TRACES_EXPORTER") == "none"
	return TraceConfig{
		On:       !off && first("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT") != "",
		Protocol: first("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"),
	}
}

// traces is what follows work; the zero value follows nothing.
type traces struct {
	tracer     *spans.Tracer
	statements pgx.QueryTracer
	retry      []pgretry.Option
}

func (a *App) openTraces(ctx context.Context) error {
	if !a.config.Traces.On {
		return nil
	}
	exporter, err := a.config.Traces.exporter(ctx)
	if err != nil {
		return fmt.Errorf("OTEL_EXPORTER_OTLP_PROTOCOL: %w", err)
	}
	about, err := resource.New(ctx, resource.WithTelemetrySDK(), resource.WithHost(),
		resource.WithAttributes(attribute.String("service.name", "concord"), attribute.String("service.version", a.config.Version)),
		resource.WithFromEnv())
	if err != nil {
		return fmt.Errorf("OTEL_RESOURCE_ATTRIBUTES: %w", err)
	}
	provider := trace.NewTracerProvider(trace.WithResource(about), trace.WithBatcher(&quietExporter{SpanExporter: exporter, log: a.log}))
	a.onClose(func() error {
		stop, cancel := context.WithTimeout(context.Background(), flushTimeout)
		defer cancel()
		if err := provider.Shutdown(stop); err != nil {
			a.log.Warn("the last spans are not delivered", "error", err)
		}
		return nil
	})
	observer, err := pgretryotel.New(noop.NewMeterProvider()) // Prometheus has the counts
	if err != nil {
		return fmt.Errorf("observe retries: %w", err)
	}
	a.traces = traces{
		tracer: spans.New(provider), retry: []pgretry.Option{pgretry.WithObserver(observer)},
		statements: otelpgx.NewTracer(otelpgx.WithTracerProvider(provider), otelpgx.WithMeterProvider(noop.NewMeterProvider()),
			otelpgx.WithDisableConnectionDetailsInAttributes()),
	}
	return nil
}

func (c TraceConfig) exporter(ctx context.Context) (trace.SpanExporter, error) {
	switch c.Protocol {
	case "", "http/protobuf":
		var options []otlptracehttp.Option
		if c.Endpoint != "" {
			options = append(options, otlptracehttp.WithEndpointURL(strings.TrimSuffix(c.Endpoint, "/")+"/v1/traces"))
		}
		return otlptrace.New(ctx, otlptracehttp.NewClient(options...))
	case "grpc":
		var options []otlptracegrpc.Option
		if c.Endpoint != "" {
			options = append(options, otlptracegrpc.WithEndpointURL(c.Endpoint))
		}
		return otlptrace.New(ctx, otlptracegrpc.NewClient(options...))
	}
	return nil, concord.Errorf(concord.CodeInvalid, "%q is neither http/protobuf nor grpc", c.Protocol)
}

// quietExporter logs when the receiver stops to take spans and when it takes
// them again: one line each, however long it lasts. The work itself never
// notices.
type quietExporter struct {
	trace.SpanExporter
	log  *slog.Logger
	down atomic.Bool
}

// ExportSpans implements [trace.SpanExporter].
func (e *quietExporter) ExportSpans(ctx context.Context, list []trace.ReadOnlySpan) error {
	err := e.SpanExporter.ExportSpans(ctx, list)
	switch {
	case err != nil && !e.down.Swap(true):
		e.log.Warn("traces are not delivered", "error", err)
	case err == nil && e.down.Swap(false):
		e.log.Info("traces are delivered again")
	}
	return nil
}
