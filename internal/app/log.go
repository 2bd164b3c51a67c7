package app

import (
	"context"
	"log/slog"

	"github.com/concord-home/concord"
)

const correlationKey = "correlation_id"

// correlated adds the correlation id of the context to each line that does not
// have it already.
type correlated struct{ slog.Handler }

// Handle implements [slog.Handler].
func (h correlated) Handle(ctx context.Context, r slog.Record) error {
	id := concord.CorrelationID(ctx)
	if id == "" {
		return h.Handler.Handle(ctx, r)
	}
	has := false
	r.Attrs(func(a slog.Attr) bool {
		has = a.Key == correlationKey
		return !has
	})
	if !has {
		r = r.Clone()
		r.AddAttrs(slog.String(correlationKey, id))
	}
	return h.Handler.Handle(ctx, r)
}

// WithAttrs implements [slog.Handler].
func (h correlated) WithAttrs(attrs []slog.Attr) slog.Handler {
	return correlated{h.Handler.WithAttrs(attrs)}
}

// WithGroup implements [slog.Handler].
func (h correlated) WithGroup(name string) slog.Handler { return correlated{h.Handler.WithGroup(name)} }
