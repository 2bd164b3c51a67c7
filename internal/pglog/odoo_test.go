package pglog_test

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"
)

var odooHead = regexp.MustCompile(`^(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}) (\d+) (\w+) (\S+) `)

// TestOdooThreads lets one process serve what several served: without thread names a root is named only where no other
// is possible.
func TestOdooThreads(t *testing.T) {
	t.Parallel()
	for name, to := range map[string]string{
		"NoThreadShown":    "$1 4711 $3 $4 ",
		"DatabaseEach":     "$1 4711 $3 db_$2 ",
		"ThreadAfterPID":   "$1 4711 Thread-$2 $3 $4 ",
		"ThreadAfterDB":    "$1 4711 $3 $4 odoo.service.http.request.$2 ",
		"ThreadInBrackets": "$1 4711 $3 [Thread-$2 (process_request_thread)] $4 ",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := readLabel(t, "testdata/labelled/odoo_workers.json")
			lines := readLines(t, "testdata/labelled/odoo_workers.log")
			text, moved := transform(lines, func(_ int, line string) []string { return []string{odooHead.ReplaceAllString(line, to)} })
			dir := t.TempDir()
			require.NoError(t, os.WriteFile(filepath.Join(dir, "odoo.log"), []byte(text), 0o600))
			got := moveLabel(l, "odoo.log", moved)
			result, cascades := analyze(t, dir, []string{"odoo.log"})
			v := judge(&got, cascades)
			t.Logf("%+v %v", v, result.Unproven)
			require.Equal(t, l.Totals.ErrorRecords, result.Totals.ErrorRecords)
			require.Zero(t, v.wrong)
			if name != "NoThreadShown" {
				require.Equal(t, verdict{tied: 28, honest: 14}, v)
			}
		})
	}
}
