package pgretry_test

import (
	"context"
	"errors"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/concord-home/concord/pgretry"
	"github.com/concord-home/concord/pgretry/internal/pgtest"
)

// TestTransactionEndedBySQL has closures that try to end their transaction by a statement.
func TestTransactionEndedBySQL(t *testing.T) {
	t.Parallel()
	pool := counters(t, 1)
	for _, sql := range []string{
		`commit`, `COMMIT;`, `commit work`, `commit and chain`, `end`, ` ;; End transaction`, `rollback`, `abort`,
		`rollback work and chain`, `rollback; begin`, `commit; begin; select 1`, `prepare transaction 'x'`,
		"-- name: Done :exec\ncommit", "-- an old Mac\rcommit", `/* a /* b */ */ commit`, `select ';''' || e'\''; commit`, `select $$;$$ ; commit`,
		`select $a$ $$ ; $a$; rollback`, `select 1 as "a;b"; end`, `create temp table x (); commit`,
		`create temp table x (atomic int); commit`, `create temp table x () /* begin atomic */; end`,
		`create function pg_temp.g() returns int begin atomic select 1; select 2; end; commit`,
		`create function pg_temp.g(a text default ';') returns text language sql as 'begin atomic'; commit`,
		"create /* or */ or -- replace\nreplace procedure pg_temp.g() begin /* ; */ atomic end; rollback",
	} {
		t.Run("Refused "+sql, func(t *testing.T) {
			runs := 0
			for name, send := range map[string]func(ctx context.Context, tx pgx.Tx) error{
				"Exec":     func(ctx context.Context, tx pgx.Tx) error { _, err := tx.Exec(ctx, sql); return err },
				"QueryRow": func(ctx context.Context, tx pgx.Tx) error { return tx.QueryRow(ctx, sql).Scan() },
				"Prepare":  func(ctx context.Context, tx pgx.Tx) error { _, err := tx.Prepare(ctx, "", sql); return err },
				"Query": func(ctx context.Context, tx pgx.Tx) error {
					rows, _ := tx.Query(ctx, sql) // as pgx allows
					_, err := pgx.CollectRows(rows, pgx.RowTo[int])
					return err
				},
				"Batch": func(ctx context.Context, tx pgx.Tx) error {
					batch := &pgx.Batch{}
					batch.Queue(`select 1`)
					batch.Queue(sql)
					return tx.SendBatch(ctx, batch).Close()
				},
			} {
				err := pgretry.Do(t.Context(), pool, func(ctx context.Context, tx pgx.Tx) error {
					runs++
					if err := increment(ctx, tx, 1); err != nil {
						return err
					}
					require.ErrorIs(t, send(ctx, tx), pgretry.ErrFinishedByClosure, name)
					return nil // swallowed
				})
				require.ErrorIs(t, err, pgretry.ErrFinishedByClosure, name)
			}
			require.Equal(t, 5, runs)
			require.Zero(t, value(t, pool, 1))
		})
	}
	t.Run("NothingElseIsRefused", func(t *testing.T) {
		require.NoError(t, pgretry.Do(t.Context(), pool, func(ctx context.Context, tx pgx.Tx) error {
			for _, sql := range []string{
				`savepoint end_of_day`, `rollback to end_of_day`, `rollback work to savepoint end_of_day`, `release end_of_day`,
				`prepare commit as select 1`, `execute commit`, `deallocate commit`, `select 1 as commit -- ; commit`,
				`select '; commit', "x" from (select 1 as "x") as "; commit" /* ; commit */`, `select e'\'; commit', U&'; commit'`,
				`select $$; commit$$, $a$; $$; commit $a$`, `do $$ begin perform 1; end $$; select 1`,
				`create function pg_temp.f() returns int begin atomic; select 1; end; select 2`, `;`, ``,
				"CREATE OR REPLACE FUNCTION pg_temp.f(a text DEFAULT '(;', b int DEFAULT 1) RETURNS int -- ; begin atomic\n" +
					`BEGIN /* ( */ ATOMIC SELECT case when b = 1 then 1 end; SELECT 2; END`,
				`create procedure pg_temp.p() begin atomic end; create function pg_temp._begin() returns int begin atomic select 1; end`,
			} {
				_, err := tx.Exec(ctx, sql)
				require.NoError(t, err, sql)
			}
			if _, err := tx.Exec(ctx, `select $1::int as a$1 where 1 = $1`, 1); err != nil { // neither $ quotes
				return err
			}
			if _, err := tx.Prepare(ctx, "end-of-day", `select 1`); err != nil {
				return err
			}
			_, err := tx.Exec(ctx, "end-of-day")
			return err
		}, pgretry.WithMaxAttempts(1)))
	})
	t.Run("AConflictBehindItIsNotRetried", func(t *testing.T) {
		runs := 0
		err := pgretry.Do(t.Context(), pool, func(ctx context.Context, tx pgx.Tx) error {
			runs++
			if err := increment(ctx, tx, 1); err != nil {
				return err
			}
			if _, err := tx.Conn().Exec(ctx, `commit`); err != nil { // past the tx, which cannot refuse it
				return err
			}
			_, err := tx.Exec(ctx, raise("40001"))
			return err
		})
		require.ErrorIs(t, err, pgretry.ErrFinishedByClosure)
		require.Equal(t, 1, runs)
		require.Equal(t, 1, value(t, pool, 1))
	})
}

// TestErrorsOfAnotherDatabase has a closure that calls Do on another database: its failures are judged there.
func TestErrorsOfAnotherDatabase(t *testing.T) {
	t.Parallel()
	t.Run("Exhausted", func(t *testing.T) {
		t.Parallel()
		outer := counters(t, 1)
		inner, outerRuns, innerRuns := anotherDatabase(t, outer), 0, 0
		err := pgretry.Do(t.Context(), outer, func(ctx context.Context, _ pgx.Tx) error {
			outerRuns++
			return pgretry.Do(ctx, inner, func(ctx context.Context, tx pgx.Tx) error {
				innerRuns++
				_, err := tx.Exec(ctx, raise("40001"))
				return err
			}, pgretry.WithBackoff(1, 1), pgretry.WithMaxAttempts(3))
		})
		require.ErrorIs(t, err, pgretry.ErrExhausted)
		require.Equal(t, 1, outerRuns)
		require.Equal(t, 3, innerRuns)
	})
	t.Run("UnknownCommit", func(t *testing.T) {
		t.Parallel()
		inner := slowCommit(t)
		outer, runs, done := anotherDatabase(t, inner), 0, make(chan error, 1)
		holder := holdCommits(t, inner)
		defer holder.release()
		go func() {
			done <- pgretry.Do(t.Context(), outer, func(ctx context.Context, _ pgx.Tx) error {
				runs++
				return pgretry.Do(ctx, inner, add)
			})
		}()
		holder.await(t)
		pgtest.Exec(t, inner, `select pg_terminate_backend(pid) from pg_locks
			where locktype = 'advisory' and not granted and classid = 77 and objid = hashtext(current_schema)::oid`)
		require.ErrorIs(t, <-done, pgretry.ErrCommitUnknown)
		require.Equal(t, 1, runs)
	})
}

// TestUnknownByTheServersWord has COMMIT fail with codes that say nothing about the outcome.
func TestUnknownByTheServersWord(t *testing.T) {
	t.Parallel()
	for _, sqlstate := range []string{"08006", "08007", "40003"} {
		pool := counters(t, 1)
		pgtest.Exec(t, pool,
			`create function fail() returns trigger language plpgsql as $$ begin raise exception using errcode = '`+sqlstate+`'; end $$`,
			`create constraint trigger fail after update on counter deferrable initially deferred for each row execute function fail()`)
		err := pgretry.Do(t.Context(), pool, add)
		require.ErrorIs(t, err, pgretry.ErrCommitUnknown, sqlstate)
		var e *pgretry.Error
		require.True(t, errors.As(err, &e))
		require.Equal(t, 1, e.Attempts)
	}
}
