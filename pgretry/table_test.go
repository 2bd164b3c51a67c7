package pgretry_test

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/concord-home/concord/pgretry"
	"github.com/concord-home/concord/pgretry/internal/pgtest"
)

// TestLockNotAvailableOnAQuotedTable names who holds the lock of a table whose name has capitals.
func TestLockNotAvailableOnAQuotedTable(t *testing.T) {
	t.Parallel()
	pool := pgtest.Pool(t, 3)
	pgtest.Exec(t, pool, `create table "Order" (n int)`, `insert into "Order" values (1)`)
	holder := lock(t, pool, `update "Order" set n = 2`)
	for _, sql := range []string{`SELECT FROM "Order" FOR UPDATE NOWAIT`, `lock "Order" nowait`, `LOCK TABLE only "Order" in share mode nowait`} {
		err := pgretry.Do(t.Context(), pool, func(ctx context.Context, tx pgx.Tx) error {
			_, err := tx.Exec(ctx, sql)
			return err
		}, pgretry.WithMaxAttempts(1))
		var e *pgretry.Error
		require.ErrorAs(t, err, &e)
		require.Equal(t, "55P03", e.SQLSTATE)
		require.Len(t, e.History[0].Blockers, 1, sql)
		require.EqualValues(t, holder.Conn().PgConn().PID(), e.History[0].Blockers[0].PID)
	}
}
