package pgretry_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/concord-home/concord/pgretry"
	"github.com/concord-home/concord/pgretry/internal/pgtest"
	"github.com/concord-home/concord/pgretry/pgretrytest"
)

// TestClassification has the server raise each SQLSTATE once and asks whether the call went on.
func TestClassification(t *testing.T) {
	t.Parallel()
	fast := pgretry.WithPolicy(pgretry.Policy{
		FirstWait: 1, MaxWait: 1, SlowWait: 1, MaxSlowWait: 1, WatchAfter: -1,
	})
	unique := pgretry.WithRetryOn("23505", "23P01")
	for name, c := range map[string]struct {
		sqlstate string
		where    pgretrytest.Where
		opt      pgretry.Option
		again    bool
	}{
		"SerializationFailure":          {"40001", pgretrytest.AtStatement, nil, true},
		"SerializationFailureAtCommit":  {"40001", pgretrytest.AtCommit, nil, true},
		"Deadlock":                      {"40P01", pgretrytest.AtStatement, nil, true},
		"LockNotAvailable":              {"55P03", pgretrytest.AtStatement, nil, true},
		"Unique":                        {"23505", pgretrytest.AtStatement, nil, false},
		"UniqueOptedIn":                 {"23505", pgretrytest.AtStatement, unique, true},
		"DeferredUniqueAtCommit":        {"23505", pgretrytest.AtCommit, nil, false},
		"Exclusion":                     {"23P01", pgretrytest.AtStatement, nil, false},
		"ExclusionOptedIn":              {"23P01", pgretrytest.AtStatement, unique, true},
		"Cancelled":                     {"57014", pgretrytest.AtStatement, nil, false},
		"IdleInTransaction":             {"25P03", pgretrytest.AtStatement, nil, true},
		"AdminShutdown":                 {"57P01", pgretrytest.AtStatement, nil, true},
		"AdminShutdownAtBegin":          {"57P01", pgretrytest.AtBegin, nil, true},
		"TooManyConnections":            {"53300", pgretrytest.AtBegin, nil, true},
		"CannotConnectNow":              {"57P03", pgretrytest.AtBegin, nil, true},
		"ReadOnlyServer":                {"25006", pgretrytest.AtStatement, nil, true},
		"ReadOnlyTransaction":           {"25006", pgretrytest.AtStatement, pgretry.WithReadOnly(), false},
		"StandbyRefusesReadWrite":       {"0A000", pgretrytest.AtBegin, nil, true},
		"NotSupported":                  {"0A000", pgretrytest.AtStatement, nil, false},
		"SyntaxError":                   {"42601", pgretrytest.AtStatement, nil, false},
		"CheckViolation":                {"23514", pgretrytest.AtStatement, nil, false},
		"InFailedTransactionByItself":   {"25P02", pgretrytest.AtStatement, nil, false},
		"TransactionResolutionByItself": {"08007", pgretrytest.AtStatement, nil, true},
		"ProtocolViolation":             {"08P01", pgretrytest.AtStatement, nil, false},
		"CancelledOptedIn":              {"57014", pgretrytest.AtStatement, pgretry.WithRetryOn("57014"), true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			force := pgretrytest.NewForce(pgtest.Pool(t, 2)).Fail(1, c.sqlstate, c.where)
			opts := []pgretry.Option{fast}
			if c.opt != nil {
				opts = append(opts, c.opt)
			}
			err := pgretry.New().Do(t.Context(), force, func(ctx context.Context, tx pgx.Tx) error {
				_, err := tx.Exec(ctx, `select 1`)
				return err
			}, append(opts, pgretry.WithoutMarker())...)
			if c.again {
				require.NoError(t, err)
				require.Equal(t, 2, force.Attempts())
				return
			}
			require.Equal(t, c.sqlstate, pgretry.SQLSTATE(err))
			require.Equal(t, 1, force.Attempts())
		})
	}
}

func TestOptionalFailuresAreBounded(t *testing.T) {
	t.Parallel()
	pool, runs := counters(t, 1), 0
	err := pgretry.Do(t.Context(), pool, func(ctx context.Context, tx pgx.Tx) error {
		runs++
		_, err := tx.Exec(ctx, `insert into counter values (1, 0)`)
		return err
	}, pgretry.WithRetryOn("23505"), pgretry.WithBackoff(1, 1))
	require.ErrorIs(t, err, pgretry.ErrExhausted)
	require.Equal(t, pgretry.DefaultMaxOptional, runs)
}

func TestConnections(t *testing.T) {
	t.Parallel()
	t.Run("ARefusedOneIsRetriedSlowly", func(t *testing.T) {
		t.Parallel()
		pgtest.URL(t)
		config, err := pgxpool.ParseConfig("postgres://postgres@127.0.0.1:1/postgres?sslmode=disable")
		require.NoError(t, err)
		pool, err := pgxpool.NewWithConfig(t.Context(), config)
		require.NoError(t, err)
		defer pool.Close()
		var bounds []time.Duration
		err = pgretry.New().Do(t.Context(), pool, nothing,
			func(p *pgretry.Policy) {
				p.MaxAttempts = 4
				p.Jitter = func(bound time.Duration) time.Duration { bounds = append(bounds, bound); return 0 }
			})
		require.ErrorIs(t, err, pgretry.ErrExhausted)
		slow := pgretry.DefaultSlowWait
		require.Equal(t, []time.Duration{slow, 2 * slow, 4 * slow}, bounds)
	})
	t.Run("TheReserveIsLeftFree", func(t *testing.T) {
		t.Parallel()
		pool := counters(t, 1) // 10 connections
		runner := pgretry.New(pgretry.WithReserve(9))
		require.NoError(t, runner.Do(t.Context(), pool, func(ctx context.Context, _ pgx.Tx) error {
			short, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
			defer cancel()
			require.ErrorIs(t, runner.Do(short, pool, nothing), context.DeadlineExceeded)
			return runner.Do(t.Context(), pool, nothing, pgretry.WithUseReserve())
		}))
	})
}

func TestHookAndBudget(t *testing.T) {
	t.Parallel()
	pool := pgtest.Pool(t, 2)
	force := pgretrytest.NewForce(pool).Fail(1, "40001", pgretrytest.AtStatement).Fail(2, "40P01", pgretrytest.AtStatement)
	var hooked []string
	seen := &recorded{}
	err := pgretry.New(pgretry.WithBudget(pgretry.NewBudget(0.1, 10)), pgretry.WithBackoff(1, 1), pgretry.WithObserver(seen)).
		Do(t.Context(), force, func(ctx context.Context, tx pgx.Tx) error {
			_, err := tx.Exec(ctx, `select 1`)
			return err
		}, pgretry.WithBeforeRetry(func(_ context.Context, failed pgretry.Attempt) error {
			hooked = append(hooked, failed.SQLSTATE)
			return nil
		}))
	require.NoError(t, err)
	require.Equal(t, []string{"40001", "40P01"}, hooked)
	require.Equal(t, pgretry.Retried, seen.outcomes[0].Kind())
	require.Equal(t, 3, seen.outcomes[0].Attempts)
}

func TestCollide(t *testing.T) {
	t.Parallel()
	pool := counters(t, 1)
	var n [2]int
	side := func(i int) pgretrytest.Side {
		return pgretrytest.Side{
			Read: func(ctx context.Context, tx pgx.Tx) error {
				return tx.QueryRow(ctx, `select n from counter where id = 1`).Scan(&n[i])
			},
			Write: func(ctx context.Context, tx pgx.Tx) error {
				_, err := tx.Exec(ctx, `update counter set n = $1 where id = 1`, n[i]+1)
				return err
			},
		}
	}
	met := pgretrytest.Collide(t.Context(), pool, side(0), side(1))
	require.NoError(t, met.Errs[0])
	require.NoError(t, met.Errs[1])
	require.Equal(t, 3, met.Attempts[0]+met.Attempts[1])
	require.Equal(t, 2, value(t, pool, 1))
}

// TestBudgetKeepsNoDebt has retries that never came: out of time, and out of their context.
func TestBudgetKeepsNoDebt(t *testing.T) {
	t.Parallel()
	pool, seen := pgtest.Pool(t, 2), &recorded{}
	runner := pgretry.New(pgretry.WithBudget(pgretry.NewBudget(0, 0.1)), pgretry.WithBackoff(1, 1), pgretry.WithObserver(seen))
	// The budget holds one token, and makes the next in ten seconds.
	require.ErrorIs(t, runner.Do(t.Context(), pool, failing(9, "40001", succeed), pgretry.WithMaxElapsed(5*time.Second)), pgretry.ErrExhausted)
	require.Len(t, seen.attempts, 2)
	for range 5 {
		ctx, cancel := context.WithCancel(t.Context())
		err := runner.Do(ctx, pool, failing(9, "40001", succeed), pgretry.WithObserver(onFailure(cancel)))
		require.ErrorIs(t, err, context.Canceled)
		last := seen.attempts[len(seen.attempts)-1]
		require.LessOrEqual(t, last.Wait, 10*time.Second)
		require.Greater(t, last.Wait, time.Second)
	}
}

// onFailure is called when an attempt has failed.
type onFailure func()

func (f onFailure) AttemptFailed(context.Context, pgretry.Attempt) { f() }
func (onFailure) Finished(context.Context, pgretry.Outcome)        {}

// TestReadOnlyServer has the pool connect anew, perhaps to another server; also below a wrapper.
func TestReadOnlyServer(t *testing.T) {
	t.Parallel()
	plain, wrapped := pgtest.Pool(t, 1), pgtest.Pool(t, 1)
	for name, db := range map[string]pgretry.DB{"Pool": plain, "Wrapper": pgretrytest.NewForce(wrapped)} {
		pids := map[uint32]bool{}
		require.NoError(t, pgretry.Do(t.Context(), db, func(ctx context.Context, tx pgx.Tx) error {
			pids[tx.Conn().PgConn().PID()] = true
			if len(pids) > 1 {
				return nil
			}
			_, err := tx.Exec(ctx, raise("25006"))
			return err
		}, func(p *pgretry.Policy) { p.SlowWait, p.MaxSlowWait = 1, 1 }), name)
		require.Len(t, pids, 2, name)
	}
}

func TestForceFailsEveryKindOfStatement(t *testing.T) {
	t.Parallel()
	pool := counters(t, 1)
	for name, fn := range map[string]pgretry.Func{
		"SendBatch": func(ctx context.Context, tx pgx.Tx) error {
			batch := &pgx.Batch{}
			batch.Queue(`select 1`)
			return tx.SendBatch(ctx, batch).Close()
		},
		"CopyFrom": func(ctx context.Context, tx pgx.Tx) error {
			_, err := tx.CopyFrom(ctx, pgx.Identifier{"counter"}, []string{"id", "n"}, pgx.CopyFromRows(nil))
			return err
		},
		"Savepoint": func(ctx context.Context, tx pgx.Tx) error {
			return pgx.BeginFunc(ctx, tx, func(savepoint pgx.Tx) error { return increment(ctx, savepoint, 1) })
		},
		"Query": func(ctx context.Context, tx pgx.Tx) error {
			rows, _ := tx.Query(ctx, `select 1`) // as pgx allows
			_, err := pgx.CollectRows(rows, pgx.RowTo[int])
			return err
		},
		"QueryOfABatch": func(ctx context.Context, tx pgx.Tx) error {
			batch := &pgx.Batch{}
			batch.Queue(`select 1`)
			results := tx.SendBatch(ctx, batch)
			rows, _ := results.Query()
			_, err := pgx.CollectRows(rows, pgx.RowTo[int])
			return errors.Join(err, results.Close())
		},
	} {
		force := pgretrytest.NewForce(pool).Fail(1, "40001", pgretrytest.AtStatement)
		require.NoError(t, pgretry.Do(t.Context(), force, fn), name)
		require.Equal(t, 2, force.Attempts(), name)
	}
}
