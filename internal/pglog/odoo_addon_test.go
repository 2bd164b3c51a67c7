package pglog_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/concord-home/concord/internal/pglog"
)

func analyzeText(t *testing.T, text string, o pglog.Options) *pglog.Result {
	t.Helper()
	r, err := pglog.Analyze(context.Background(), []pglog.Input{{Path: "-", Name: "odoo.log", Reader: strings.NewReader(text)}}, o)
	require.NoError(t, err)
	return r
}

const addonLog = `2026-11-22 10:00:00,000 7 INFO prod odoo.addons.odoo_ha_addon.models.websocket: State changed: light.kitchen off -> on
2026-11-22 10:00:01,000 7 INFO prod odoo.addons.odoo_ha_addon.models.websocket: State changed: light.kitchen on -> off
2026-11-22 10:00:02,000 7 INFO prod odoo.addons.odoo_ha_addon.models.entity: Batch update summary: 2 created, 68 updated, 1 errors
2026-11-22 10:00:02,100 9 ERROR prod odoo.sql_db: bad query: b'UPDATE "ha_entity" SET "state" = \'on\' WHERE "id" = 17'
ERROR: could not serialize access due to concurrent update
 
2026-11-22 10:00:02,200 9 WARNING prod odoo.addons.odoo_ha_addon.controllers.main: Serialization conflict (attempt 1/3), retrying in 0.5 s
2026-11-22 10:00:02,900 9 INFO prod werkzeug: 127.0.0.1 - - [22/Nov/2026 10:00:02] "POST /odoo_ha_addon/areas HTTP/1.1" 200 - 6 0.001 0.804
2026-11-22 10:00:10,000 7 INFO prod odoo.addons.odoo_ha_addon.models.websocket: State changed: light.hall off -> on
`

func TestAddonLinesTellLoadAndRetries(t *testing.T) {
	t.Parallel()
	r := analyzeText(t, addonLog, pglog.Options{})
	require.Equal(t, int64(3), r.Addon.StateChanges)
	require.Equal(t, 10*time.Second, r.Addon.Last.Sub(r.Addon.First))
	require.Equal(t, []int64{1, 2, 68, 1, 71}, []int64{r.Addon.Batches, r.Addon.Created, r.Addon.Updated, r.Addon.Errors, r.Addon.LargestBatch})
	require.Equal(t, int64(1), r.Addon.Retries)
	require.Len(t, r.Incidents, 1)
	require.Equal(t, int64(1), r.Incidents[0].RetriedOK, "the add-on's own retry saved the request")
	require.Equal(t, "/odoo_ha_addon/areas", r.Incidents[0].Endpoint)
	require.Equal(t, `UPDATE "ha_entity" SET "state" = 'on' WHERE "id" = 17`, r.Incidents[0].Example)
}

func TestAddonLinesOutOfRangeAreLeftOut(t *testing.T) {
	t.Parallel()
	r := analyzeText(t, addonLog, pglog.Options{Since: time.Date(2026, 11, 22, 10, 0, 5, 0, time.UTC)})
	require.Equal(t, int64(1), r.Addon.StateChanges)
	require.Zero(t, r.Addon.Batches)
}

func TestIncidentNamesARow(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ lines, row string }{
		"Tuple": {`ERROR:  deadlock detected
2026-11-22 10:00:00.000 UTC [7] u@d CONTEXT:  while updating tuple (0,159) in relation "stock"`, "(0,159)"},
		"Key": {`ERROR:  duplicate key value violates unique constraint "x"
2026-11-22 10:00:00.000 UTC [7] u@d DETAIL:  Key (name)=(INV/1) already exists.`, "(name)=(INV/1)"},
		"None": {`ERROR:  could not serialize access due to concurrent update
2026-11-22 10:00:00.000 UTC [7] u@d CONTEXT:  PL/pgSQL function f(integer,text) line 3 at SQL statement`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := analyzeText(t, "2026-11-22 10:00:00.000 UTC [7] u@d "+c.lines+"\n", pglog.Options{Prefix: "%m [%p] %q%u@%d "})
			require.Len(t, r.Incidents, 1)
			require.Equal(t, c.row, r.Incidents[0].Row)
		})
	}
}
