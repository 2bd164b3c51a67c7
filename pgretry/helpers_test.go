package pgretry_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/concord-home/concord/pgretry"
	"github.com/concord-home/concord/pgretry/internal/pgtest"
)

// counters returns a pool on a table counter with rows 1 … n, each at zero.
func counters(t testing.TB, n int) *pgxpool.Pool {
	t.Helper()
	pool := pgtest.Pool(t, 10)
	pgtest.Exec(t, pool, `create table counter (id int primary key, n int not null)`)
	_, err := pool.Exec(t.Context(), `insert into counter select i, 0 from generate_series(1, $1) i`, n)
	require.NoError(t, err)
	return pool
}

// increment reads row id and writes it back one higher.
func increment(ctx context.Context, tx pgx.Tx, id int) error {
	var n int
	if err := tx.QueryRow(ctx, `select n from counter where id = $1`, id).Scan(&n); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, `update counter set n = $2 where id = $1`, id, n+1)
	return err
}

func add(ctx context.Context, tx pgx.Tx) error { return increment(ctx, tx, 1) }

func value(t testing.TB, pool *pgxpool.Pool, id int) (n int) {
	t.Helper()
	require.NoError(t, pool.QueryRow(t.Context(), `select n from counter where id = $1`, id).Scan(&n))
	return n
}

// rival commits an increment of row 1 on another connection.
func rival(t testing.TB, pool *pgxpool.Pool) {
	t.Helper()
	_, err := pool.Exec(t.Context(), `update counter set n = n + 1 where id = 1`)
	require.NoError(t, err)
}

// lock runs sql in a transaction that keeps its locks until it is rolled back, at the test's end at the latest.
func lock(t testing.TB, pool *pgxpool.Pool, sql string) pgx.Tx {
	t.Helper()
	tx, err := pool.Begin(t.Context())
	require.NoError(t, err)
	t.Cleanup(func() { _ = tx.Rollback(context.Background()) })
	_, err = tx.Exec(t.Context(), sql)
	require.NoError(t, err)
	return tx
}

func nothing(context.Context, pgx.Tx) error { return nil }

// raise is a statement that fails with an SQLSTATE.
func raise(sqlstate string) string {
	return `do $$ begin raise exception using errcode = '` + sqlstate + `'; end $$`
}

// failing returns a closure that raises an SQLSTATE in its first runs, and then does as then says.
func failing(runs int, sqlstate string, then func() error) pgretry.Func {
	return func(ctx context.Context, tx pgx.Tx) error {
		if runs--; runs >= 0 {
			_, err := tx.Exec(ctx, raise(sqlstate))
			return err
		}
		return then()
	}
}

func succeed() error { return nil }

// failTwice raises 40001 in the first two runs.
func failTwice() pgretry.Func {
	runs := 0
	return func(ctx context.Context, tx pgx.Tx) error {
		if runs++; runs > 2 {
			return increment(ctx, tx, 1)
		}
		_, err := tx.Exec(ctx, raise("40001"))
		return err
	}
}

// patience is enough for what must happen soon.
const patience = 15 * time.Second

func eventually(t *testing.T, ok func() bool) {
	t.Helper()
	require.Eventually(t, ok, 20*time.Second, 5*time.Millisecond)
}

func noErrors(t *testing.T, errs []error) {
	t.Helper()
	for _, err := range errs {
		require.NoError(t, err)
	}
}

// recorded is an observer that keeps everything.
type recorded struct {
	mu       sync.Mutex
	attempts []pgretry.Attempt
	outcomes []pgretry.Outcome
	notices  []pgretry.Notice
}

func (r *recorded) AttemptFailed(_ context.Context, a pgretry.Attempt) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.attempts = append(r.attempts, a)
}

func (r *recorded) Finished(_ context.Context, o pgretry.Outcome) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.outcomes = append(r.outcomes, o)
}

func (r *recorded) Noticed(_ context.Context, n pgretry.Notice) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.notices = append(r.notices, n)
}

func (r *recorded) finished() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.outcomes)
}

func (r *recorded) failedWith(sqlstate string) (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, a := range r.attempts {
		if a.SQLSTATE == sqlstate {
			n++
		}
	}
	return n
}

func (r *recorded) noticed(kind pgretry.NoticeKind) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, n := range r.notices {
		if n.Kind == kind {
			return true
		}
	}
	return false
}
