package pglog_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// Odoo's clock shows Taipei's time, the server's UTC. In threaded mode one pid serves everybody, so Odoo's log alone
// does not tell whose error the echo belongs to; the server's sessions do.
const (
	odooText = `2026-11-22 18:00:00,101 900 ERROR prod odoo.sql_db: bad query: b'UPDATE "stock_quant" SET "qty" = 5 WHERE "id" = 4'
ERROR: could not serialize access due to concurrent update
 
2026-11-22 18:00:00,102 900 ERROR prod odoo.sql_db: bad query: b'SELECT 1/0 FROM "res_partner"'
ERROR: division by zero
 
2026-11-22 18:00:00,103 900 ERROR prod odoo.sql_db: bad query: b'SELECT "name" FROM "res_users" WHERE "id" = 2'
ERROR: current transaction is aborted, commands ignored until end of transaction block
 
`
	serverText = `2026-11-22 10:00:00.100 UTC [41] odoo@prod ERROR:  could not serialize access due to concurrent update
2026-11-22 10:00:00.100 UTC [41] odoo@prod STATEMENT:  UPDATE "stock_quant" SET "qty" = 5 WHERE "id" = 4
2026-11-22 10:00:00.101 UTC [42] odoo@prod ERROR:  division by zero
2026-11-22 10:00:00.101 UTC [42] odoo@prod STATEMENT:  SELECT 1/0 FROM "res_partner"
2026-11-22 10:00:00.102 UTC [41] odoo@prod ERROR:  current transaction is aborted, commands ignored until end of transaction block
2026-11-22 10:00:00.102 UTC [41] odoo@prod STATEMENT:  SELECT "name" FROM "res_users" WHERE "id" = 2
`
)

func TestJoinOfOdoosLogAndTheServers(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "odoo.log"), []byte(odooText), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "postgresql.log"), []byte(serverText), 0o600))

	_, alone := analyze(t, dir, []string{"odoo.log"})
	require.Len(t, alone, 1)
	require.Nil(t, alone[0].Root, "two threads of one process: no proof")

	for _, files := range [][]string{{"odoo.log", "postgresql.log"}, {"postgresql.log", "odoo.log"}} {
		result, cascades := analyze(t, dir, files)
		require.Len(t, cascades, 2, "each log's own echo")
		for _, c := range cascades {
			require.NotNil(t, c.Root, "%s:%d", c.File, c.Line)
			require.Equal(t, "40001", c.Root.SQLState)
			require.Equal(t, c.File, c.Root.File, "an echo is tied within its own log")
			require.Equal(t, int64(1), c.Root.Line)
		}
		require.Equal(t, int64(4), result.Totals.Roots, "records of both files")
		var conflicts int64
		for _, in := range result.Incidents {
			if in.SQLState == "40001" {
				conflicts += in.Count
			}
		}
		require.Equal(t, int64(1), conflicts, "one error that two logs tell of is one")
	}
}
