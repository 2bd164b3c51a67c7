package pgretryotel_test

import (
	"context"
	"os"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/concord-home/concord/pgretry"
	"github.com/concord-home/concord/pgretry/internal/pgtest"
	"github.com/concord-home/concord/pgretry/pgretryotel"
	"github.com/concord-home/concord/pgretry/pgretrytest"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

// TestSpanTree has a span around a call and one in each run of its closure: the runs are children of the call's span,
// which tells of the failed attempt and of the end.
func TestSpanTree(t *testing.T) {
	t.Parallel()
	pool, spans := pgtest.Pool(t, 4), tracetest.NewSpanRecorder()
	o, err := pgretryotel.New(metric.NewMeterProvider())
	require.NoError(t, err)
	tracer := trace.NewTracerProvider(trace.WithSpanProcessor(spans)).Tracer("test")
	ctx, request := tracer.Start(t.Context(), "request")
	db := pgretrytest.NewForce(pool).Fail(1, "40001", pgretrytest.AtStatement)
	require.NoError(t, pgretry.New(pgretry.WithBackoff(1, 1)).Do(ctx, db, func(ctx context.Context, tx pgx.Tx) error {
		ctx, run := tracer.Start(ctx, "run")
		defer run.End()
		_, err := tx.Exec(ctx, `select 1`)
		return err
	}, pgretry.WithObserver(o), pgretry.WithName("pay")))
	request.End()

	ended := spans.Ended()
	require.Len(t, ended, 3)
	root := ended[2]
	for _, run := range ended[:2] {
		require.Equal(t, "run", run.Name())
		require.Equal(t, root.SpanContext().SpanID(), run.Parent().SpanID())
	}
	require.Len(t, root.Events(), 2)
	require.Equal(t, "transaction notice", root.Events()[0].Name) // it is queued from now on
	failed := root.Events()[1]
	require.Equal(t, "transaction attempt failed", failed.Name)
	require.Subset(t, failed.Attributes, []attribute.KeyValue{
		attribute.String("transaction", "pay"), attribute.String("stage", "closure"),
		attribute.String("db.response.status_code", "40001"), attribute.Int("attempt", 1), attribute.Bool("retry", true),
	})
	require.Contains(t, root.Attributes(), attribute.Int("pgretry.attempts", 2))
	require.Equal(t, codes.Unset, root.Status().Code)
}

func TestAFailedCallFailsItsSpan(t *testing.T) {
	t.Parallel()
	pool, spans, reader := pgtest.Pool(t, 4), tracetest.NewSpanRecorder(), metric.NewManualReader()
	o, err := pgretryotel.New(metric.NewMeterProvider(metric.WithReader(reader)))
	require.NoError(t, err)
	ctx, request := trace.NewTracerProvider(trace.WithSpanProcessor(spans)).Tracer("test").Start(t.Context(), "request")
	require.Error(t, pgretry.New(pgretry.WithObserver(o)).Do(ctx, pool, func(ctx context.Context, tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `select 1 / 0`)
		return err
	}, pgretry.WithName("pay")))
	request.End()
	require.Equal(t, trace.Status{Code: codes.Error, Description: "transaction failed"}, spans.Ended()[0].Status())

	var got metricdata.ResourceMetrics
	require.NoError(t, reader.Collect(t.Context(), &got))
	counted := map[string]attribute.Set{}
	for _, m := range got.ScopeMetrics[0].Metrics {
		switch data := m.Data.(type) {
		case metricdata.Sum[int64]:
			require.EqualValues(t, 1, data.DataPoints[0].Value, m.Name)
			counted[m.Name] = data.DataPoints[0].Attributes
		case metricdata.Histogram[float64]:
			require.EqualValues(t, 1, data.DataPoints[0].Count, m.Name)
			counted[m.Name] = data.DataPoints[0].Attributes
		}
	}
	name := attribute.String("transaction", "pay")
	require.Equal(t, map[string]attribute.Set{
		"pgretry.transactions":     attribute.NewSet(name, attribute.String("outcome", "failed")),
		"pgretry.attempt.failures": attribute.NewSet(name, attribute.String("stage", "closure"), attribute.String("db.response.status_code", "22012")),
		"pgretry.duration":         attribute.NewSet(name),
	}, counted)
}
