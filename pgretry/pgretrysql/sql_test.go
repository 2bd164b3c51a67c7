package pgretrysql_test

import (
	"context"
	"database/sql"
	"os"
	"testing"

	"github.com/jackc/pgx/v5/stdlib"
	"github.com/stretchr/testify/require"

	"github.com/concord-home/concord/pgretry"
	"github.com/concord-home/concord/pgretry/internal/pgtest"
	"github.com/concord-home/concord/pgretry/pgretrysql"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

func TestDo(t *testing.T) {
	t.Parallel()
	for name, setup := range map[string]string{"Plain": `select 1`, "WithMarker": pgretry.MarkerMigration} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pool := pgtest.Pool(t, 4)
			pgtest.Exec(t, pool, setup, `create table counter (n int not null)`, `insert into counter values (0)`)
			db := stdlib.OpenDBFromPool(pool)
			defer db.Close()
			runs := 0
			err := pgretrysql.Do(t.Context(), db, func(ctx context.Context, tx *sql.Tx) error {
				runs++
				var n int
				if err := tx.QueryRowContext(ctx, `select n from counter`).Scan(&n); err != nil {
					return err
				}
				if runs == 1 {
					pgtest.Exec(t, pool, `update counter set n = n + 10`)
				}
				_, err := tx.ExecContext(ctx, `update counter set n = $1`, n+1)
				return err
			})
			require.NoError(t, err)
			require.Equal(t, 2, runs)
			var n int
			require.NoError(t, db.QueryRow(`select n from counter`).Scan(&n))
			require.Equal(t, 11, n)
			require.Zero(t, db.Stats().InUse)
		})
	}
	t.Run("RefusesANestedCall", func(t *testing.T) {
		t.Parallel()
		db := stdlib.OpenDBFromPool(pgtest.Pool(t, 4))
		defer db.Close()
		err := pgretrysql.Do(t.Context(), db, func(ctx context.Context, _ *sql.Tx) error {
			return pgretrysql.Do(ctx, db, func(context.Context, *sql.Tx) error { return nil })
		})
		require.ErrorIs(t, err, pgretry.ErrNested)
	})
}
