package pgretryotel_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/concord-home/concord/pgretry"
	"github.com/concord-home/concord/pgretry/pgretryotel"
)

func TestObserver(t *testing.T) {
	t.Parallel()
	reader, spans := metric.NewManualReader(), tracetest.NewSpanRecorder()
	o, err := pgretryotel.New(metric.NewMeterProvider(metric.WithReader(reader)))
	require.NoError(t, err)
	ctx, span := trace.NewTracerProvider(trace.WithSpanProcessor(spans)).Tracer("test").Start(t.Context(), "request")
	o.AttemptFailed(ctx, pgretry.Attempt{Name: "pay", Number: 1, SQLSTATE: "40001", Retry: true})
	o.Noticed(ctx, pgretry.Notice{Kind: pgretry.NoticeQueued})
	o.Finished(ctx, pgretry.Outcome{Name: "pay", Attempts: 2, Err: pgretry.ErrExhausted})
	span.End()
	require.Len(t, spans.Ended()[0].Events(), 2)
	require.Equal(t, codes.Error, spans.Ended()[0].Status().Code)
	var got metricdata.ResourceMetrics
	require.NoError(t, reader.Collect(t.Context(), &got))
	require.Len(t, got.ScopeMetrics[0].Metrics, 3)
}
