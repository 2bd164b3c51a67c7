package spans_test

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/concord-home/concord/internal/spans"
)

func setup() (*spans.Tracer, *tracetest.SpanRecorder) {
	ended := tracetest.NewSpanRecorder()
	return spans.New(trace.NewTracerProvider(trace.WithSpanProcessor(ended))), ended
}

func TestSwitchedOffCostsNothing(t *testing.T) {
	var off *spans.Tracer
	require.Nil(t, spans.New(nil))
	ctx, header := t.Context(), http.Header{"Traceparent": {"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}}
	var traces []string
	require.Zero(t, testing.AllocsPerRun(100, func() {
		ctx, span := off.Start(ctx, "a", spans.Internal)
		ctx, child := off.Child(ctx, "b")
		ctx, follows := off.Follow(ctx, "c", spans.Consumer, traces...)
		ctx, served := off.Serve(ctx, header, "d")
		off.Past("e", off.Parent(ctx), time.Time{})
		for _, s := range []spans.Span{span, child, follows, served} {
			s.SetText("name", s.TraceID())
			s.SetNumber("number", 1)
			s.End(nil, "")
		}
	}))
}

func TestATextCarriesTheTrace(t *testing.T) {
	t.Parallel()
	tracer, ended := setup()
	ctx, first := tracer.Start(t.Context(), "first", spans.Internal)
	_, other := tracer.Start(t.Context(), "other", spans.Internal)
	carried := tracer.Parent(ctx)
	otherCtx, _ := tracer.Start(t.Context(), "another", spans.Internal)
	_, second := tracer.Follow(context.Background(), "second", spans.Consumer, carried, tracer.Parent(otherCtx), "nonsense")
	second.End(errors.New("password=secret"), "did not work")
	first.End(nil, "")
	other.End(nil, "")

	list := ended.Ended()
	require.Equal(t, list[1].SpanContext().SpanID(), list[0].Parent().SpanID())
	require.Equal(t, first.TraceID(), list[0].SpanContext().TraceID().String())
	require.Len(t, list[0].Links(), 1)
	require.Equal(t, "did not work", list[0].Status().Description, "not the error's own text")
	require.Empty(t, list[0].Events())
}

func TestNothingToFollow(t *testing.T) {
	t.Parallel()
	tracer, ended := setup()
	_, span := tracer.Follow(t.Context(), "no parents", spans.Consumer)
	span.End(nil, "")
	_, span = tracer.Child(t.Context(), "no span in the context")
	span.End(nil, "")
	tracer.Past("no parent", "", time.Now())
	require.Empty(t, ended.Ended())
	require.Empty(t, tracer.Parent(t.Context()))
}

func TestServeGoesOnWithTheCallersTrace(t *testing.T) {
	t.Parallel()
	tracer, ended := setup()
	for _, header := range []string{"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "nonsense", ""} {
		_, span := tracer.Serve(t.Context(), http.Header{"Traceparent": {header}}, "GET /")
		span.End(nil, "")
	}
	list := ended.Ended()
	require.Equal(t, "b7ad6b7169203331", list[0].Parent().SpanID().String())
	require.False(t, list[1].Parent().IsValid())
	require.False(t, list[2].Parent().IsValid())
}
