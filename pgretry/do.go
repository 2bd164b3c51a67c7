package pgretry

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// DB begins transactions. *pgxpool.Pool and *pgx.Conn are both a DB.
//
// A pool is the usual choice: after a lost connection the next attempt needs another one, which a *pgx.Conn cannot give.
//
// A DB of your own that wraps another should have a method Unwrap() DB that returns it. It tells which database calls are
// on, for queues, markers and [ErrNested], and what pgretry itself asks goes past the wrapper.
type DB interface {
	BeginTx(ctx context.Context, opts pgx.TxOptions) (pgx.Tx, error)
}

// Func is the body of a transaction. It may run several times, so it touches nothing but tx, and keeps what it learns
// in variables that each run sets anew. It neither commits nor rolls back.
type Func = func(ctx context.Context, tx pgx.Tx) error

// Do runs fn in a transaction and commits it. When PostgreSQL asks for it, Do runs fn again in a new transaction.
//
// Do returns nil when the transaction is committed. An error of fn that has nothing to do with PostgreSQL comes back
// unchanged, after a rollback. Everything else is an [*Error]; test it with errors.Is for [ErrExhausted],
// [ErrCommitUnknown], [ErrNested], [ErrFinishedByClosure] or the context's error, and ask [SQLSTATE] for the code.
//
// Do uses a [Runner] that the whole process shares.
func Do(ctx context.Context, db DB, fn func(ctx context.Context, tx pgx.Tx) error, opts ...Option) error {
	return shared.Do(ctx, db, fn, opts...)
}

// Runner runs transactions under one policy. What it learns about contention is shared by all calls on it.
// Make one with [New]; it is safe for concurrent use.
type Runner struct {
	policy  Policy
	gates   gates
	flights flights
	markers markerTables
	seats   seats
}

var shared = New()

// New returns a Runner whose calls start from opts. Without options it behaves as [Do].
func New(opts ...Option) *Runner {
	r := &Runner{}
	r.policy.apply(opts)
	return r
}

// Do is [Do] under the Runner's policy, changed by opts for this call.
func (r *Runner) Do(ctx context.Context, db DB, fn func(ctx context.Context, tx pgx.Tx) error, opts ...Option) error {
	c := call{runner: r, db: db, fn: fn, policy: r.policy}
	c.policy.apply(opts)
	c.policy.setDefaults()
	return c.run(ctx)
}
