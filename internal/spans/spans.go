// Package spans follows a piece of work through Concord, as OpenTelemetry spans.
//
// Where a context goes, the span goes with it. Where none goes (through the
// spool, the live model, to screens) its W3C traceparent does, as a text that
// is empty when there is nothing to follow. A nil [Tracer] is how traces are
// switched off: then nothing is allocated, and every text is empty.
package spans

import (
	"context"
	"net/http"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

const scope = "github.com/concord-home/concord"

// maxLinks bounds the traces that one span names beside its own.
const maxLinks = 100

// Tracer starts spans. All methods of a nil Tracer do nothing; those of others
// are safe for concurrent use.
type Tracer struct{ tracer trace.Tracer }

// Span is work under way. End it once. The zero Span is of no trace.
type Span struct{ span trace.Span }

// Kind says how a span stands to its parent.
type Kind = trace.SpanKind

// The kinds that Concord has.
const (
	Internal = trace.SpanKindInternal
	Server   = trace.SpanKindServer   // answers a request
	Producer = trace.SpanKindProducer // hands work to the spool
	Consumer = trace.SpanKindConsumer // takes it from there
)

// New returns a Tracer for a provider; nil for nil.
func New(p trace.TracerProvider) *Tracer {
	if p == nil {
		return nil
	}
	return &Tracer{p.Tracer(scope)}
}

// Start begins a span beneath that of ctx, or a trace when ctx has none.
func (t *Tracer) Start(ctx context.Context, name string, kind Kind) (context.Context, Span) {
	if t == nil {
		return ctx, Span{}
	}
	ctx, span := t.tracer.Start(ctx, name, trace.WithSpanKind(kind))
	return ctx, Span{span}
}

// Child is Start for work that is no trace of its own: without a span in ctx
// there is none.
func (t *Tracer) Child(ctx context.Context, name string) (context.Context, Span) {
	if t == nil || !trace.SpanContextFromContext(ctx).IsValid() {
		return ctx, Span{}
	}
	return t.Start(ctx, name, Internal)
}

// Follow begins a span beneath the first of these traceparents, and has it name
// the others: work that was done for several at once. Without any it does
// nothing.
func (t *Tracer) Follow(ctx context.Context, name string, kind Kind, parents ...string) (context.Context, Span) {
	if t == nil || len(parents) == 0 || parents[0] == "" {
		return ctx, Span{}
	}
	options := []trace.SpanStartOption{trace.WithSpanKind(kind)}
	for _, p := range parents[1:min(len(parents), maxLinks)] {
		if other := trace.SpanContextFromContext(remote(ctx, p)); other.IsValid() {
			options = append(options, trace.WithLinks(trace.Link{SpanContext: other}))
		}
	}
	ctx, span := t.tracer.Start(remote(ctx, parents[0]), name, options...)
	return ctx, Span{span}
}

// Past notes work that began at the given time and is done now.
func (t *Tracer) Past(name, parent string, began time.Time) {
	if t == nil || parent == "" {
		return
	}
	_, span := t.tracer.Start(remote(context.Background(), parent), name, trace.WithTimestamp(began))
	span.End()
}

// Serve begins the span of a request, which goes on with the trace of its
// traceparent header if it has one.
func (t *Tracer) Serve(ctx context.Context, h http.Header, name string) (context.Context, Span) {
	if t == nil {
		return ctx, Span{}
	}
	return t.Start(remote(ctx, h.Get("Traceparent")), name, Server)
}

// Parent is the traceparent of the span in ctx, "" when there is none.
func (t *Tracer) Parent(ctx context.Context) string {
	if t == nil || !trace.SpanContextFromContext(ctx).IsValid() {
		return ""
	}
	carrier := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(ctx, carrier)
	return carrier["traceparent"]
}

func remote(ctx context.Context, traceparent string) context.Context {
	return propagation.TraceContext{}.Extract(ctx, propagation.MapCarrier{"traceparent": traceparent})
}

// TraceID is that of the span's trace, 32 hexadecimal digits; "" for no trace.
func (s Span) TraceID() string {
	if s.span == nil {
		return ""
	}
	return s.span.SpanContext().TraceID().String()
}

// SetText describes the span. Values are never secrets: they leave the machine.
func (s Span) SetText(name, value string) {
	if s.span != nil {
		s.span.SetAttributes(attribute.String(name, value))
	}
}

// SetNumber describes the span.
func (s Span) SetNumber(name string, value int) {
	if s.span != nil {
		s.span.SetAttributes(attribute.Int(name, value))
	}
}

// End ends the span. An error marks it as failed with reason, a fixed text: an
// error's own text may hold what must not leave the machine.
func (s Span) End(err error, reason string) {
	if s.span == nil {
		return
	}
	if err != nil {
		s.span.SetStatus(codes.Error, reason)
	}
	s.span.End()
}
