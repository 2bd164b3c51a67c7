package concord

import "context"

type correlationKey struct{}

// WithCorrelationID marks ctx as work done for the request, connection or job
// with that id. The id ends up in log lines, answers and SQL comments, so it
// must be short and printable: whoever takes one from outside checks it first.
func WithCorrelationID(ctx context.Context, id string) context.Context {
	return context.WithValue(ctx, correlationKey{}, id)
}

// CorrelationID returns the id that ctx was marked with, or "".
func CorrelationID(ctx context.Context) string {
	id, _ := ctx.Value(correlationKey{}).(string)
	return id
}
