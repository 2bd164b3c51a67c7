package pgretry_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/concord-home/concord/pgretry"
	"github.com/concord-home/concord/pgretry/internal/pgtest"
	"github.com/concord-home/concord/pgretry/pgretryslog"
)

// A record that only the server finds has its transaction run again. That is no failed call, whatever the policy allows.
func TestBatchThatNeedsCareIsOneCall(t *testing.T) {
	t.Parallel()
	pool := pgtest.Pool(t, 2)
	pgtest.Exec(t, pool, `create table x (id int primary key, n int unique)`)
	batch := &pgretry.Batch{Table: pgx.Identifier{"x"}, Columns: []string{"id", "n"}, Key: []string{"id"}}
	seen, log := &recorded{}, &bytes.Buffer{}
	got, err := batch.Upsert(t.Context(), pool, [][]any{{1, 1}, {2, 1}}, pgretry.WithMaxAttempts(1), pgretry.WithMaxElapsed(time.Nanosecond),
		pgretry.WithObserver(seen, pgretryslog.New(slog.New(slog.NewTextHandler(log, nil)))))
	require.NoError(t, err)
	require.Equal(t, []pgretry.RecordOutcome{pgretry.Created, pgretry.Failed}, outcomesOf(got))
	require.Len(t, seen.outcomes, 1)
	require.Equal(t, pgretry.Retried, seen.outcomes[0].Kind())
	require.Equal(t, 2, seen.outcomes[0].Attempts)
	require.Len(t, seen.attempts, 1)
	require.True(t, seen.attempts[0].Retry)
	require.Zero(t, seen.attempts[0].Wait)
	require.Equal(t, "23505", seen.attempts[0].SQLSTATE)
	require.NotContains(t, log.String(), "level=ERROR")
	require.Contains(t, log.String(), "retried and committed")
}

// However many chunks hold a record that only the server finds, the transaction starts over a few times only.
func TestBatchWithManyBadChunks(t *testing.T) {
	t.Parallel()
	pool := pgtest.Pool(t, 2)
	pgtest.Exec(t, pool, `create table x (id int primary key, n int unique)`)
	batch := &pgretry.Batch{Table: pgx.Identifier{"x"}, Columns: []string{"id", "n"}, Key: []string{"id"}, Chunk: 4}
	var records [][]any
	for i := range 256 {
		records = append(records, []any{i, i / 4})
	}
	seen := &recorded{}
	got, err := batch.Upsert(t.Context(), pool, records, pgretry.WithObserver(seen))
	require.NoError(t, err)
	require.Equal(t, 64, got.Created)
	require.Equal(t, 192, got.Failed)
	require.LessOrEqual(t, seen.outcomes[0].Attempts, 8) // of 64 chunks
}

// Each record that the server cannot read costs two COPYs, wherever it stands.
func TestBatchCopiesTwiceForWhatTheServerCannotRead(t *testing.T) {
	t.Parallel()
	owner := pgtest.Pool(t, 1)
	pgtest.Exec(t, owner, `create table x (id int primary key, j jsonb)`)
	config, copies := owner.Config(), &countedSavepoints{}
	config.ConnConfig.Tracer = copies
	batch := &pgretry.Batch{Table: pgx.Identifier{"x"}, Columns: []string{"id", "j"}, Key: []string{"id"}}
	var records [][]any
	for i := range 1000 {
		records = append(records, []any{i, []string{"{", "{}"}[min(1, i%10)]})
	}
	got, err := batch.Upsert(t.Context(), pgtest.Connect(t, config), records)
	require.NoError(t, err)
	require.Equal(t, []int{900, 100}, []int{got.Created, got.Failed})
	require.Less(t, copies.Load(), int64(250))
}

// countedSavepoints is how many statements began one.
type countedSavepoints struct{ atomic.Int64 }

func (c *countedSavepoints) TraceQueryStart(ctx context.Context, _ *pgx.Conn, q pgx.TraceQueryStartData) context.Context {
	if strings.HasPrefix(q.SQL, "savepoint") {
		c.Add(1)
	}
	return ctx
}

func (c *countedSavepoints) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

// A closure that fails on one database and fills a batch on another is not run again because that batch was about to be.
func TestBatchInsideAClosure(t *testing.T) {
	t.Parallel()
	outer := pgtest.Pool(t, 1)
	inner, runs := anotherDatabase(t, outer), 0
	pgtest.Exec(t, inner, `create table public.x (id int primary key, n int unique)`)
	batch := &pgretry.Batch{Table: pgx.Identifier{"public", "x"}, Columns: []string{"id", "n"}, Key: []string{"id"}}
	err := pgretry.Do(t.Context(), outer, func(ctx context.Context, tx pgx.Tx) error {
		if runs++; runs > 1 {
			return nil
		}
		_, err := tx.Exec(ctx, `select 1 / 0`)
		require.Error(t, err)
		_, err = batch.Upsert(ctx, inner, [][]any{{1, 1}, {2, 1}}, pgretry.WithBeforeRetry(func(context.Context, pgretry.Attempt) error {
			return errors.New("no further attempt")
		}))
		return err
	})
	require.ErrorContains(t, err, "no further attempt")
	require.Equal(t, 1, runs)
}
