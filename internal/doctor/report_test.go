package doctor_test

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/concord-home/concord/internal/doctor"
)

const logs = "../pglog/testdata/labelled/"

func examine(t *testing.T, out *doctor.JSONWriter, paths ...string) *doctor.Report {
	t.Helper()
	inputs, err := doctor.Inputs(paths)
	require.NoError(t, err)
	report, err := doctor.Examine(context.Background(), doctor.Options{Inputs: inputs, JSON: out})
	require.NoError(t, err)
	return report
}

func TestJSONHoldsTheContract(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	out := doctor.NewJSONWriter(&b)
	report := examine(t, out, logs+"nasty_rotated.log", logs+"nasty_rotated.log.1")
	require.NoError(t, out.Close(report))
	var got struct {
		Totals struct {
			ErrorRecords int            `json:"error_records"`
			Roots        int            `json:"roots"`
			Cascades     int            `json:"cascades"`
			ByState      map[string]int `json:"roots_by_sqlstate"`
			WithRoot     *int           `json:"cascades_with_root"`
			ByTable      map[string]int `json:"conflict_roots_by_table"`
		} `json:"totals"`
		Cascades []struct {
			File string `json:"file"`
			Line int    `json:"line"`
			Root *struct {
				File  string `json:"file"`
				Line  int    `json:"line"`
				State string `json:"sqlstate"`
			} `json:"root"`
		} `json:"cascades"`
		Incidents []map[string]any `json:"incidents"`
	}
	require.NoError(t, json.Unmarshal(b.Bytes(), &got))
	require.Equal(t, 491, got.Totals.ErrorRecords)
	require.Equal(t, 199, got.Totals.Roots)
	require.Len(t, got.Cascades, 292)
	require.NotNil(t, got.Totals.WithRoot)
	across := 0
	for _, c := range got.Cascades {
		if c.Root != nil && c.Root.File != c.File {
			across++
		}
	}
	require.Positive(t, across, "no root was found in the older file")
	for _, key := range []string{"sqlstate", "table", "conflict_table", "application", "endpoint", "first", "last", "count", "cascades", "retried_ok", "lost"} {
		require.Contains(t, got.Incidents[0], key)
	}
}

func TestNamesOfInputs(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, name := range []string{"a/x.log", "b/x.log", "b/y.log", ".hidden/z.log"} {
		require.NoError(t, os.MkdirAll(filepath.Join(dir, filepath.Dir(name)), 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(name), 0o600))
	}
	inputs, err := doctor.Inputs([]string{dir})
	require.NoError(t, err)
	var names []string
	for _, in := range inputs {
		names = append(names, in.Name)
	}
	require.ElementsMatch(t, []string{"a/x.log", "b/x.log", "y.log"}, names)

	inputs, err = doctor.Inputs([]string{filepath.Join(dir, "a/x.log"), filepath.Join(dir, "b/x.log")})
	require.NoError(t, err)
	require.Equal(t, []string{"a/x.log", "b/x.log"}, []string{inputs[0].Name, inputs[1].Name}, "each an argument")
}

func TestTextPutsTheVerdictFirst(t *testing.T) {
	t.Parallel()
	report := examine(t, nil, logs+"pg_savepoint.log")
	require.True(t, report.Found())
	for lang, want := range map[string]string{"en": "147 errors", "zh-Hant": "147 個", "ru": ": 147"} {
		var b bytes.Buffer
		require.NoError(t, report.Tell(lang).WriteText(&b))
		first, _, _ := strings.Cut(b.String(), "\n")
		require.Contains(t, first, want)
		require.Contains(t, first, "40001 (stock_quant)")
		require.NotContains(t, b.String(), "%!")
	}
}

func TestHTMLNeedsNothingElse(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	require.NoError(t, examine(t, nil, logs+"odoo_workers.log").Tell("en").WriteHTML(&b))
	for _, outside := range []string{"<script", "<link", "http://", "https://", "@import", "<img"} {
		require.NotContains(t, b.String(), outside)
	}
	require.Contains(t, b.String(), "stock_quant")
}

func TestCleanLogFindsNothing(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "x.log")
	require.NoError(t, os.WriteFile(path, []byte("2026-11-22 10:00:00.000 UTC [1] LOG:  database system is ready to accept connections\n"), 0o600))
	require.False(t, examine(t, nil, path).Found())
}

// TestWordsAreComplete expects every text in every language, with the same number of arguments.
func TestWordsAreComplete(t *testing.T) {
	t.Parallel()
	count := map[string]map[string]int{}
	for _, lang := range doctor.Languages {
		data, err := os.ReadFile("words/" + lang + ".txt")
		require.NoError(t, err)
		count[lang] = map[string]int{}
		for line := range strings.Lines(string(data)) {
			key, text, ok := strings.Cut(strings.TrimSpace(line), " = ")
			require.True(t, ok, line)
			count[lang][key] = strings.Count(text, "%s")
		}
	}
	for _, lang := range doctor.Languages[1:] {
		require.Equal(t, count["en"], count[lang], lang)
	}
}
