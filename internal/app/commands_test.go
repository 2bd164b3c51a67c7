package app_test

import (
	"encoding/csv"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/concord-home/concord/hass/simhome"
	"github.com/concord-home/concord/internal/app"
	"github.com/concord-home/concord/internal/trial"
)

// The commands about history, as a person types them, on a running server.
func TestHistoryCommands(t *testing.T) {
	t.Parallel()
	c := start(t, trial.Options{Home: simhome.Options{Past: -1}, Config: func(o *app.Config) { o.DatabaseURL = "" }})
	concord := func(args ...string) (stdout, stderr string, code int) {
		stdout, stderr, err := concordCommand(t, []string{"DATABASE_URL=" + c.DB}, "", args...)
		if exit, ok := err.(*exec.ExitError); ok { //nolint:errorlint // as Run returns it
			return stdout, stderr, exit.ExitCode()
		}
		require.NoError(t, err)
		return stdout, stderr, 0
	}
	c.Home.Set("sensor.exported", "1", json.RawMessage(`{"friendly_name":"A, \"b\""}`))
	c.Home.Set("sensor.exported", "2", nil)
	c.Home.Set("sensor.bad", "3", json.RawMessage(`{"x":"\u0000"}`))
	require.Eventually(t, func() bool {
		return query[bool](t, c, `select count(*) = 2 from state_history_named where entity_id = 'sensor.exported'`) &&
			query[bool](t, c, `select count(*) = 1 from quarantine`)
	}, 20*time.Second, 20*time.Millisecond)

	t.Run("Export", func(t *testing.T) {
		out, _, code := concord("export", "sensor.export*")
		require.Zero(t, code)
		rows, err := csv.NewReader(strings.NewReader(out)).ReadAll()
		require.NoError(t, err)
		require.Len(t, rows, 3)
		require.Equal(t, []string{"entity_id", "last_updated", "last_changed", "state", "attributes", "source"}, rows[0])
		require.Equal(t, "1", rows[1][3])
		require.JSONEq(t, `{"friendly_name":"A, \"b\""}`, rows[2][4])

		file := filepath.Join(t.TempDir(), "out.jsonl")
		out, _, code = concord("export", "--format", "jsonl", "--out", file, "--from", "1h", "sensor.exported")
		require.Zero(t, code)
		require.Empty(t, out)
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		require.Equal(t, 2, strings.Count(string(text), `"entity_id":"sensor.exported"`))
	})

	t.Run("ExportOfNothing", func(t *testing.T) {
		for _, w := range []struct {
			pattern, says string
			code          int
		}{
			{"sensor.nothere", `no entity "sensor.nothere"`, 1},
			{"sensor.[", `"sensor.[" is no pattern`, 2},
		} {
			out, says, code := concord("export", w.pattern)
			require.Empty(t, out)
			require.Contains(t, says, w.says)
			require.Equal(t, w.code, code)
		}
	})

	t.Run("Quarantine", func(t *testing.T) {
		out, _, code := concord("quarantine", "list")
		require.Zero(t, code)
		require.Contains(t, out, "sensor.bad")
		_, says, code := concord("quarantine", "replay", "77777")
		require.Equal(t, 2, code)
		require.Contains(t, says, "record 77777 is not in quarantine")
		out, _, code = concord("quarantine", "replay")
		require.Zero(t, code)
		require.Contains(t, out, "0 written, 1 stay in quarantine")
		query[int64](t, c, `with mended as (
			update quarantine set record = convert_to(replace(convert_from(record, 'UTF8'), '\\u0000', 'y'), 'UTF8') returning quarantine_id
		) select quarantine_id from mended`)
		out, _, code = concord("quarantine", "replay")
		require.Zero(t, code)
		require.Contains(t, out, "1 written, 0 stay in quarantine")
		require.Equal(t, "3", query[string](t, c, `select state from state_history_named where entity_id = 'sensor.bad'`))
	})

	t.Run("Retention", func(t *testing.T) {
		_, says, code := concord("retention", "--keep=-48h")
		require.Equal(t, 2, code)
		require.Contains(t, says, "at least 24h")
		out, _, code := concord("retention", "--keep", "24h")
		require.Zero(t, code)
		require.Contains(t, out, "partitions in")
		require.Positive(t, query[int64](t, c, `select count(*) from history`), "what is younger stays")
	})
}
