package main

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/cockroachdb/cockroach-go/v2/crdb/crdbpgxv5"
	"github.com/failsafe-go/failsafe-go"
	"github.com/failsafe-go/failsafe-go/retrypolicy"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/concord-home/concord/pgretry"
)

// job is one transaction: its body, the row or table it contends for, and who runs it.
type job struct {
	name string
	key  string
	iso  pgx.TxIsoLevel
	fn   func(ctx context.Context, tx pgx.Tx) error
}

// strategy runs jobs on a pool. attempt is called at the start of each attempt.
type strategy struct {
	name string
	make func(pool *pgxpool.Pool) func(ctx context.Context, j job) error
}

func strategies() []strategy {
	return []strategy{
		{"no retry", noRetry},
		{"3 × 0.5 s", threeTries},
		{"backoff, full jitter", backoff},
		{"crdbpgxv5", cockroach},
		{"failsafe-go", failsafePolicy},
		{"pgretry", learned},
		{"pgretry, key", keyed},
	}
}

func once(ctx context.Context, pool *pgxpool.Pool, j job) error {
	return pgx.BeginTxFunc(ctx, pool, pgx.TxOptions{IsoLevel: j.iso}, func(tx pgx.Tx) error { return j.fn(ctx, tx) })
}

func conflicts(err error) bool {
	var e *pgconn.PgError
	return errors.As(err, &e) && (e.Code == "40001" || e.Code == "40P01")
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

func noRetry(pool *pgxpool.Pool) func(context.Context, job) error {
	return func(ctx context.Context, j job) error { return once(ctx, pool, j) }
}

func threeTries(pool *pgxpool.Pool) func(context.Context, job) error {
	return func(ctx context.Context, j job) error {
		for try := 1; ; try++ {
			err := once(ctx, pool, j)
			if !conflicts(err) || try == 3 {
				return err
			}
			if err := pause(ctx, 500*time.Millisecond); err != nil {
				return err
			}
		}
	}
}

// The two backoffs begin at 5 ms and stop growing at 1 s, as pgretry's does.
const first, most = 5 * time.Millisecond, time.Second

func backoff(pool *pgxpool.Pool) func(context.Context, job) error {
	return func(ctx context.Context, j job) error {
		for bound := first; ; bound = min(2*bound, most) {
			err := once(ctx, pool, j)
			if !conflicts(err) {
				return err
			}
			if err := pause(ctx, rand.N(bound)); err != nil {
				return err
			}
		}
	}
}

func cockroach(pool *pgxpool.Pool) func(context.Context, job) error {
	return func(ctx context.Context, j job) error {
		return crdbpgx.ExecuteTx(ctx, pool, pgx.TxOptions{IsoLevel: j.iso}, func(tx pgx.Tx) error { return j.fn(ctx, tx) })
	}
}

func failsafePolicy(pool *pgxpool.Pool) func(context.Context, job) error {
	policy := retrypolicy.NewBuilder[any]().
		HandleIf(func(_ any, err error) bool { return conflicts(err) }).
		WithBackoff(first, most).WithJitterFactor(1).WithMaxRetries(-1).Build()
	return func(ctx context.Context, j job) error {
		return failsafe.With(policy).WithContext(ctx).Run(func() error { return once(ctx, pool, j) })
	}
}

func learned(pool *pgxpool.Pool) func(context.Context, job) error {
	runner := pgretry.New(pgretry.WithMaxAttempts(-1))
	return func(ctx context.Context, j job) error {
		return runner.Do(ctx, pool, j.fn, pgretry.WithName(j.name), pgretry.WithIsolation(j.iso))
	}
}

func keyed(pool *pgxpool.Pool) func(context.Context, job) error {
	runner := pgretry.New(pgretry.WithMaxAttempts(-1))
	return func(ctx context.Context, j job) error {
		return runner.Do(ctx, pool, j.fn, pgretry.WithName(j.name), pgretry.WithIsolation(j.iso), pgretry.WithKey(j.key))
	}
}
