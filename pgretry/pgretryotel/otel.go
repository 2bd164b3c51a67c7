// Package pgretryotel records what pgretry does, for OpenTelemetry: events on the caller's span, and metrics.
package pgretryotel

import (
	"context"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/concord-home/concord/pgretry"
)

const scope = "github.com/concord-home/concord/pgretry"

// Observer adds an event to the current span for each failed attempt and notice, attributes at the end, and counts.
type Observer struct {
	calls    metric.Int64Counter
	failures metric.Int64Counter
	elapsed  metric.Float64Histogram
}

var (
	_ pgretry.Observer = (*Observer)(nil)
	_ pgretry.Noticer  = (*Observer)(nil)
)

// New returns an Observer whose instruments come from provider; nil means the global one.
//
//   - pgretry.transactions {transaction, outcome}
//   - pgretry.attempt.failures {transaction, stage, db.response.status_code}
//   - pgretry.duration, seconds {transaction}
func New(provider metric.MeterProvider) (*Observer, error) {
	if provider == nil {
		provider = otel.GetMeterProvider()
	}
	meter := provider.Meter(scope)
	o := &Observer{}
	var err error
	if o.calls, err = meter.Int64Counter("pgretry.transactions"); err != nil {
		return nil, err
	}
	if o.failures, err = meter.Int64Counter("pgretry.attempt.failures"); err != nil {
		return nil, err
	}
	o.elapsed, err = meter.Float64Histogram("pgretry.duration", metric.WithUnit("s"))
	return o, err
}

func sqlstate(code string) attribute.KeyValue {
	return attribute.String("db.response.status_code", code)
}

// AttemptFailed adds an event and counts.
func (o *Observer) AttemptFailed(ctx context.Context, a pgretry.Attempt) {
	labels := []attribute.KeyValue{
		attribute.String("transaction", a.Name), attribute.String("stage", string(a.Stage)), sqlstate(a.SQLSTATE),
	}
	o.failures.Add(ctx, 1, metric.WithAttributes(labels...))
	trace.SpanFromContext(ctx).AddEvent("transaction attempt failed", trace.WithAttributes(append(labels,
		attribute.Int("attempt", a.Number), attribute.Bool("retry", a.Retry), attribute.Float64("wait", a.Wait.Seconds()))...))
}

// Finished sets the span's attributes, and its status if the call failed.
func (o *Observer) Finished(ctx context.Context, out pgretry.Outcome) {
	name, kind := attribute.String("transaction", out.Name), string(out.Kind())
	o.calls.Add(ctx, 1, metric.WithAttributes(name, attribute.String("outcome", kind)))
	o.elapsed.Record(ctx, out.Elapsed.Seconds(), metric.WithAttributes(name))
	span := trace.SpanFromContext(ctx)
	span.SetAttributes(attribute.Int("pgretry.attempts", out.Attempts), attribute.Float64("pgretry.queued", out.Queued.Seconds()))
	if out.Err != nil {
		span.SetStatus(codes.Error, "transaction "+kind)
	}
}

// Noticed adds an event.
func (o *Observer) Noticed(ctx context.Context, n pgretry.Notice) {
	trace.SpanFromContext(ctx).AddEvent("transaction notice", trace.WithAttributes(
		attribute.String("transaction", n.Name), attribute.String("notice", string(n.Kind)), attribute.String("key", n.Key)))
}
