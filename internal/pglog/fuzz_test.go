package pglog_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/concord-home/concord/internal/pglog"
)

// seed adds the beginning of every labelled log.
func seed(f *testing.F) {
	f.Helper()
	paths, err := filepath.Glob("testdata/labelled/*.log*")
	if err != nil {
		f.Fatal(err)
	}
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data[:min(len(data), 6000)])
	}
	for _, text := range []string{
		"", "\n", "{", `{"log":"`, "\x1f\x8b", "(\xb5/\xfd", "BZh9", "\xff\xfeE\x00", "2026-11-22 10:00:00.000 UTC,\"",
		"<134>1 - - - - - -", "Nov 22 10:00:00 h p[1]: [1-1] ERROR:  x", "2026-11-22 10:00:00,000 1 ERROR db odoo.sql_db: bad query: b'\\x",
		"[pod/a/b] ERROR:  ", "a | ERROR:  deadlock detected", `{"timestamp":"2026-11-22 10:00:00 UTC","error_severity":"ERROR"`,
	} {
		f.Add([]byte(text))
	}
}

// FuzzAnalyze expects that nothing in an input makes the reading panic, hang, or count more cascades than errors.
func FuzzAnalyze(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		in := pglog.Input{Path: "x.log", Name: "x.log", Reader: bytes.NewReader(data)}
		result, err := pglog.Analyze(context.Background(), []pglog.Input{in}, pglog.Options{Workers: 1})
		if err != nil {
			return
		}
		if result.Totals.Cascades > result.Totals.ErrorRecords || result.Totals.CascadesWithRoot > result.Totals.Cascades {
			t.Fatalf("%+v", result.Totals)
		}
	})
}

// FuzzPrefix expects that no log_line_prefix and no line make the matching panic or hang.
func FuzzPrefix(f *testing.F) {
	f.Add("%m [%p] %q%u@%d ", "2026-11-22 10:00:00.000 UTC [1] u@d ERROR:  x")
	f.Add("%t:%r:%u@%d:[%p]:", "2026-11-22 10:00:00 UTC:[local]:u@d:[1]:LOG:  x")
	f.Add("%a%u%d%h%%%5p%-5l", "aaaa LOG:  ")
	f.Fuzz(func(t *testing.T, prefix, line string) {
		in := pglog.Input{Path: "x.log", Name: "x.log", Reader: bytes.NewReader([]byte(line + "\n" + line))}
		_, _ = pglog.Analyze(context.Background(), []pglog.Input{in}, pglog.Options{Workers: 1, Prefix: prefix})
	})
}

// FuzzTable expects that no statement makes the reading of its table or shape panic.
func FuzzTable(f *testing.F) {
	for _, sql := range []string{
		`UPDATE "a"."b" SET c = 'x''y'`, "WITH x AS (SELECT 1) SELECT * FROM x, ONLY y", "SELECT $1, $a$ FROM b $a$ FROM c",
		"INSERT INTO t(a) VALUES (1) ON CONFLICT DO UPDATE SET a = 1", "/* x */ DELETE FROM z -- end", `"`, "'", "$",
	} {
		f.Add(sql)
	}
	f.Fuzz(func(_ *testing.T, sql string) {
		_ = pglog.TableOf(sql)
		_ = pglog.ShapeOf(sql)
	})
}
