package pglog_test

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/concord-home/concord/internal/pglog"
)

// label is the truth beside a log, made from what the client itself received.
type label struct {
	Files  []string `json:"files"`
	Totals struct {
		pglog.Totals
		WithRoot int64 `json:"cascades_with_root_in_log"`
	} `json:"totals"`
	Roots []struct {
		File  string `json:"file"`
		Line  int64  `json:"line"`
		Kind  string `json:"kind"`
		Table string `json:"table"`
		State string `json:"sqlstate"`
		InLog bool   `json:"in_log"`
	} `json:"roots"`
	Cascades []struct {
		File      string `json:"file"`
		Line      int64  `json:"line"`
		Root      string `json:"root"`
		RootFile  string `json:"root_file"`
		RootLine  int64  `json:"root_line"`
		RootState string `json:"root_sqlstate"`
	} `json:"cascades"`
}

func readLabel(tb testing.TB, path string) label {
	tb.Helper()
	data, err := os.ReadFile(path)
	require.NoError(tb, err)
	var l label
	require.NoError(tb, json.Unmarshal(data, &l))
	return l
}

// expectedTables is the label's count with the conflicts whose record shows no table moved to NoTable.
func (l *label) expectedTables() map[string]int64 {
	out := map[string]int64{}
	for _, r := range l.Roots {
		if !r.InLog || r.State != "40001" && r.State != "40P01" && r.State != "55P03" {
			continue
		}
		table := r.Table
		if table == "" || strings.Contains(r.Kind, "no STATEMENT") {
			table = pglog.NoTable
		}
		out[table]++
	}
	return out
}

func analyze(tb testing.TB, dir string, files []string) (*pglog.Result, []pglog.Cascade) {
	tb.Helper()
	var inputs []pglog.Input
	for _, f := range files {
		inputs = append(inputs, pglog.Input{Path: filepath.Join(dir, f), Name: f})
	}
	var cascades []pglog.Cascade
	result, err := pglog.Analyze(context.Background(), inputs, pglog.Options{Cascade: func(c pglog.Cascade) error {
		cascades = append(cascades, c)
		return nil
	}})
	require.NoError(tb, err)
	return result, cascades
}

// verdict compares the pairing with the truth.
type verdict struct{ tied, wrong, missed, honest int }

func judge(l *label, cascades []pglog.Cascade) verdict {
	got := map[pglog.Place]*pglog.Root{}
	for _, c := range cascades {
		got[c.Place] = c.Root
	}
	var v verdict
	for _, c := range l.Cascades {
		root := got[pglog.Place{File: c.File, Line: c.Line}]
		switch {
		case root == nil && c.Root == "":
			v.honest++
		case root == nil:
			v.missed++
		case c.Root != "" && root.File == c.RootFile && root.Line == c.RootLine && root.SQLState == c.RootState:
			v.tied++
		default:
			v.wrong++
		}
	}
	return v
}

// expected gives the pairing of a set. In plain stderr without %x nothing tells a swallowed root from the error before it.
func expected(name string) verdict {
	switch name {
	case "pg_default_C_csv.json", "pg_default_C_json.json":
		return verdict{tied: 273, honest: 19}
	case "pg_default_C.json", "nasty_rotated.json":
		return verdict{tied: 273, wrong: 19}
	case "pg_ru.json":
		return verdict{tied: 195, wrong: 7, honest: 3}
	case "odoo_workers.json":
		return verdict{tied: 28, honest: 14}
	}
	return verdict{tied: 147}
}

func TestLabelledLogs(t *testing.T) {
	t.Parallel()
	labels, err := filepath.Glob("testdata/labelled/*.json")
	require.NoError(t, err)
	require.NotEmpty(t, labels)
	for _, path := range labels {
		t.Run(filepath.Base(path), func(t *testing.T) {
			t.Parallel()
			l := readLabel(t, path)
			result, cascades := analyze(t, filepath.Dir(path), l.Files)
			v := judge(&l, cascades)
			t.Logf("tied %d, wrong %d, missed %d, honest %d; unproven %v; %+v", v.tied, v.wrong, v.missed, v.honest, result.Unproven, result.Files)
			require.Equal(t, l.Totals.ErrorRecords, result.Totals.ErrorRecords)
			require.Equal(t, l.Totals.Roots, result.Totals.Roots)
			require.Equal(t, l.Totals.Cascades, result.Totals.Cascades)
			require.Equal(t, l.Totals.RootsByState, result.Totals.RootsByState)
			require.Equal(t, l.expectedTables(), result.Totals.ConflictRootsByName)
			require.Equal(t, expected(filepath.Base(path)), v)
		})
	}
}
