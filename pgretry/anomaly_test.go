package pgretry_test

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/concord-home/concord/pgretry"
	"github.com/concord-home/concord/pgretry/internal/pgtest"
	"github.com/concord-home/concord/pgretry/pgretrytest"
)

// TestAnomalies states what each isolation level lets through, though every call retries.
func TestAnomalies(t *testing.T) {
	t.Parallel()
	levels := []pgx.TxIsoLevel{pgx.ReadCommitted, pgx.RepeatableRead, pgx.Serializable}
	t.Run("LostUpdate", func(t *testing.T) {
		t.Parallel()
		for i, lost := range []bool{true, false, false} {
			pool := counters(t, 1)
			var read [2]int
			side := func(s int) pgretrytest.Side {
				return pgretrytest.Side{
					Read: func(ctx context.Context, tx pgx.Tx) error {
						return tx.QueryRow(ctx, `select n from counter where id = 1`).Scan(&read[s])
					},
					Write: func(ctx context.Context, tx pgx.Tx) error {
						_, err := tx.Exec(ctx, `update counter set n = $1 where id = 1`, read[s]+1)
						return err
					},
				}
			}
			met := pgretrytest.Collide(t.Context(), pool, side(0), side(1), pgretry.WithIsolation(levels[i]))
			require.Equal(t, [2]error{}, met.Errs)
			require.Equal(t, lost, value(t, pool, 1) == 1, levels[i])
		}
	})
	t.Run("WriteSkew", func(t *testing.T) {
		t.Parallel()
		for i, skewed := range []bool{true, true, false} {
			pool := pgtest.Pool(t, 4)
			pgtest.Exec(t, pool, `create table doctor (id int primary key, on_call bool not null)`, `insert into doctor values (1, true), (2, true)`)
			leave := func(id int) pgretrytest.Side {
				var on int
				return pgretrytest.Side{
					Read: func(ctx context.Context, tx pgx.Tx) error {
						return tx.QueryRow(ctx, `select count(*) from doctor where on_call`).Scan(&on)
					},
					Write: func(ctx context.Context, tx pgx.Tx) error {
						if on < 2 {
							return nil // the last one stays
						}
						_, err := tx.Exec(ctx, `update doctor set on_call = false where id = $1`, id)
						return err
					},
				}
			}
			met := pgretrytest.Collide(t.Context(), pool, leave(1), leave(2), pgretry.WithIsolation(levels[i]))
			require.Equal(t, [2]error{}, met.Errs)
			var on int
			require.NoError(t, pool.QueryRow(t.Context(), `select count(*) from doctor where on_call`).Scan(&on))
			require.Equal(t, skewed, on == 0, levels[i])
		}
	})
	t.Run("ReadOnlyTransaction", func(t *testing.T) {
		t.Parallel()
		// A receipt is given for the day that a reader has already seen closed: each of the three is right with any one
		// of the others.
		for i, anomaly := range []bool{true, true, false} {
			pool := pgtest.Pool(t, 4)
			pgtest.Exec(t, pool, `create table day (n int not null)`, `insert into day values (1)`,
				`create table receipt (day int not null)`)
			reported, runs := 0, 0
			err := pgretry.Do(t.Context(), pool, func(ctx context.Context, tx pgx.Tx) error {
				runs++
				var day int
				if err := tx.QueryRow(ctx, `select n from day`).Scan(&day); err != nil {
					return err
				}
				if runs == 1 {
					require.NoError(t, pgretry.New().Do(context.Background(), pool, func(ctx context.Context, tx pgx.Tx) error {
						_, err := tx.Exec(ctx, `update day set n = 2`)
						return err
					}, pgretry.WithIsolation(levels[i])))
					require.NoError(t, pgretry.New().Do(context.Background(), pool, func(ctx context.Context, tx pgx.Tx) error {
						return tx.QueryRow(ctx, `select count(*) from receipt where day = (select n - 1 from day)`).Scan(&reported)
					}, pgretry.WithIsolation(levels[i]), pgretry.WithReadOnly()))
				}
				_, err := tx.Exec(ctx, `insert into receipt values ($1)`, day)
				return err
			}, pgretry.WithIsolation(levels[i]))
			require.NoError(t, err)
			var final int
			require.NoError(t, pool.QueryRow(t.Context(), `select count(*) from receipt where day = 1`).Scan(&final))
			require.Equal(t, anomaly, final != reported, levels[i])
		}
	})
}
