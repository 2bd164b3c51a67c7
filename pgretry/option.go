package pgretry

import (
	"context"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
)

// Option changes a [Policy].
type Option func(*Policy)

// WithPolicy replaces the whole policy, observers included.
func WithPolicy(p Policy) Option { return func(q *Policy) { *q = p } }

// WithName sets [Policy.Name].
func WithName(name string) Option { return func(p *Policy) { p.Name = name } }

// WithIsolation sets [Policy.IsoLevel].
func WithIsolation(level pgx.TxIsoLevel) Option { return func(p *Policy) { p.IsoLevel = level } }

// WithReadOnly makes the transaction READ ONLY.
func WithReadOnly() Option { return func(p *Policy) { p.AccessMode = pgx.ReadOnly } }

// WithDeferrable makes the transaction DEFERRABLE: at SERIALIZABLE READ ONLY it waits for a snapshot that cannot fail.
func WithDeferrable() Option { return func(p *Policy) { p.DeferrableMode = pgx.Deferrable } }

// WithMaxAttempts sets [Policy.MaxAttempts].
func WithMaxAttempts(n int) Option { return func(p *Policy) { p.MaxAttempts = n } }

// WithMaxElapsed sets [Policy.MaxElapsed].
func WithMaxElapsed(d time.Duration) Option { return func(p *Policy) { p.MaxElapsed = d } }

// WithAttemptTimeout sets [Policy.AttemptTimeout].
func WithAttemptTimeout(d time.Duration) Option { return func(p *Policy) { p.AttemptTimeout = d } }

// WithBackoff sets [Policy.FirstWait] and [Policy.MaxWait].
func WithBackoff(first, most time.Duration) Option {
	return func(p *Policy) { p.FirstWait, p.MaxWait = first, most }
}

// WithRetryOn adds SQLSTATEs to [Policy.RetryOn].
func WithRetryOn(sqlstates ...string) Option {
	return func(p *Policy) { p.RetryOn = append(slices.Clip(p.RetryOn), sqlstates...) }
}

// WithKey sets [Policy.Key].
func WithKey(key string) Option { return func(p *Policy) { p.Key = key } }

// WithWeight sets [Policy.Weight].
func WithWeight(weight float64) Option { return func(p *Policy) { p.Weight = weight } }

// WithoutMarker sets [Policy.NoMarker].
func WithoutMarker() Option { return func(p *Policy) { p.NoMarker = true } }

// WithBudget sets [Policy.Budget].
func WithBudget(b *Budget) Option { return func(p *Policy) { p.Budget = b } }

// WithBeforeRetry sets [Policy.BeforeRetry].
func WithBeforeRetry(hook func(ctx context.Context, failed Attempt) error) Option {
	return func(p *Policy) { p.BeforeRetry = hook }
}

// WithReserve sets [Policy.Reserve].
func WithReserve(connections int) Option { return func(p *Policy) { p.Reserve = connections } }

// WithUseReserve lets the call use the connections that [WithReserve] keeps free.
func WithUseReserve() Option { return func(p *Policy) { p.UseReserve = true } }

// WithObserver adds observers to [Policy.Observers].
func WithObserver(observers ...Observer) Option {
	return func(p *Policy) { p.Observers = append(slices.Clip(p.Observers), observers...) }
}
