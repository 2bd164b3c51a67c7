package doctor_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/concord-home/concord/internal/doctor"
	"github.com/concord-home/concord/internal/pglog"
)

// file writes a file of its own directory and gives its path.
func file(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

func text(t *testing.T, s *doctor.Story) string {
	t.Helper()
	var b bytes.Buffer
	require.NoError(t, s.WriteText(&b))
	return b.String()
}

func TestSilenceIsNoAllClear(t *testing.T) {
	t.Parallel()
	const clean = "2026-11-22 10:00:00.000 UTC [1] LOG:  database system is ready to accept connections\n"
	examine := func(t *testing.T, o doctor.Options, paths ...string) (*doctor.Report, error) {
		t.Helper()
		inputs, err := doctor.Inputs(paths)
		require.NoError(t, err)
		o.Inputs = inputs
		return doctor.Examine(context.Background(), o)
	}

	t.Run("ADirectoryWithoutFilesIsAnError", func(t *testing.T) {
		t.Parallel()
		_, err := doctor.Inputs([]string{t.TempDir()})
		require.ErrorContains(t, err, "holds no file")
	})
	t.Run("AFileThatIsNoLogIsAnError", func(t *testing.T) {
		t.Parallel()
		report, err := examine(t, doctor.Options{}, file(t, "notes.txt", "hello\nworld\n"))
		require.ErrorIs(t, err, doctor.ErrNoLog)
		require.Contains(t, report.Tell("en").Verdict[0], "notes.txt")
	})
	t.Run("AFileThatIsNoLogIsNamedBesideOneThatIs", func(t *testing.T) {
		t.Parallel()
		report, err := examine(t, doctor.Options{}, file(t, "notes.txt", "hello\nworld\n"), file(t, "pg.log", clean))
		require.NoError(t, err)
		require.Contains(t, text(t, report.Tell("en")), "No line was understood in: notes.txt")
	})
	t.Run("WhatCannotBeOpenedIsNamedAndTheRestIsRead", func(t *testing.T) {
		t.Parallel()
		report, err := examine(t, doctor.Options{}, filepath.Join(t.TempDir(), "gone.log"), file(t, "pg.log", conflictLines+echoLine))
		require.ErrorContains(t, err, "gone.log")
		require.Equal(t, int64(1), report.Logs.Totals.Cascades)
	})
	t.Run("NothingReadIsNotNothingFound", func(t *testing.T) {
		t.Parallel()
		report, err := examine(t, doctor.Options{}, filepath.Join(t.TempDir(), "gone.log"))
		require.ErrorIs(t, err, os.ErrNotExist)
		require.Equal(t, []string{"Nothing could be read, so nothing can be said."}, report.Tell("en").Verdict)
	})
	t.Run("AnEmptyFileIsNoError", func(t *testing.T) {
		t.Parallel()
		report, err := examine(t, doctor.Options{}, file(t, "pg.log", ""))
		require.NoError(t, err)
		require.Contains(t, report.Tell("en").Verdict[0], "not one line")
	})
	t.Run("ATimeOutsideTheLogIsSaid", func(t *testing.T) {
		t.Parallel()
		report, err := examine(t, doctor.Options{Since: time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)}, file(t, "pg.log", conflictLines))
		require.NoError(t, err)
		require.Contains(t, report.Tell("en").Verdict[0], "2026-11-22 10:00:00 UTC")
	})
	t.Run("TheServerIsAskedEvenWhenTheLogCannotBeRead", func(t *testing.T) {
		t.Parallel()
		_, err := examine(t, doctor.Options{URL: "postgres://me@127.0.0.1:1/none?connect_timeout=1"}, filepath.Join(t.TempDir(), "gone.log"))
		require.ErrorContains(t, err, "gone.log")
		require.ErrorContains(t, err, "ask the database")
	})
}

func TestAnInterruptedReportIsAboutWhatWasRead(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	inputs, err := doctor.Inputs([]string{file(t, "a.log", conflictLines+echoLine), file(t, "b.log", strings.Repeat(echoLine, 1000))})
	require.NoError(t, err)
	report, err := doctor.Examine(ctx, doctor.Options{Inputs: inputs, Progress: func(int64, int64) { cancel() }})
	require.ErrorIs(t, err, context.Canceled)
	require.NotNil(t, report.Logs)
	require.Positive(t, report.Logs.Totals.ErrorRecords)
}

func TestOneCauseIsToldOnce(t *testing.T) {
	t.Parallel()
	story := examine(t, nil, logs+"pg_default_C.log").Tell("en")
	seen := map[string]bool{}
	for _, c := range story.Causes {
		require.False(t, seen[c.Head()], c.Head())
		seen[c.Head()] = true
	}
	require.True(t, seen["40001 · concurrent update · stock_quant"])
	require.Equal(t, "40001 · concurrent update · stock_quant", story.Causes[0].Head())
	require.Contains(t, story.Causes[0].Application, "cron ", "the applications stand together beneath it")
	require.NotEmpty(t, story.Chart.Echoes)
}

func TestBugReportHoldsNoRowsAndNobodysName(t *testing.T) {
	t.Parallel()
	bug := examine(t, nil, logs+"pg_default_C.log").Tell("ru").Bug
	require.Contains(t, bug, "25P02 (current transaction is aborted) after 40001 (stock_quant)")
	require.Contains(t, bug, `UPDATE "stock_quant" SET "qty" = qty - ?`)
	for _, secret := range []string{"INV/", "odoo@", "user odoo"} {
		require.NotContains(t, bug, secret)
	}
}

func TestPlainWordsForEveryKind(t *testing.T) {
	t.Parallel()
	for _, kind := range []pglog.Kind{
		pglog.KindUpdate, pglog.KindDelete, pglog.KindSSI, pglog.KindRecovery, pglog.KindPartition, pglog.KindRaised,
		pglog.KindForeign, pglog.KindDeadlock, pglog.KindLock, pglog.KindOther,
	} {
		for _, lang := range doctor.Languages {
			report := doctor.Report{Logs: &pglog.Result{
				Totals:    pglog.Totals{RootsByState: map[string]int64{"40001": 1}, Cascades: 1, CascadesWithRoot: 1, ErrorRecords: 2},
				Incidents: []pglog.Incident{{SQLState: "40001", Kind: kind, Count: 1, Cascades: 1}},
				Files:     []pglog.FileInfo{{Name: "x", Lines: 2, Format: "csvlog"}},
			}}
			all := text(t, report.Tell(lang))
			require.NotContains(t, all, "plain_", "%s %s", lang, kind)
			require.NotContains(t, all, "kind_", "%s %s", lang, kind)
		}
	}
}

func TestWordsFitTheirNumber(t *testing.T) {
	t.Parallel()
	for cascades, want := range map[int64]map[string]string{
		1:  {"en": "1 echo,", "ru": "1 раз,"},
		3:  {"en": "3 echoes,", "ru": "3 раза,"},
		11: {"en": "11 echoes,", "ru": "11 раз,"},
		22: {"en": "22 echoes,", "ru": "22 раза,"},
	} {
		for lang, part := range want {
			require.Contains(t, doctor.Cause{Count: cascades, Cascades: cascades}.Numbers(lang), part)
		}
	}
}

func TestLinesFitTheTerminal(t *testing.T) {
	t.Parallel()
	report := examine(t, nil, logs+"odoo_workers.log")
	for _, lang := range doctor.Languages {
		story := report.Tell(lang)
		story.Bug = "" // what is to be pasted is not broken
		for i := range story.Advice {
			story.Advice[i].Fix = ""
		}
		for i := range story.Unknown {
			story.Unknown[i].Fix = ""
		}
		whole := strings.Join(strings.Fields(text(t, story)), "")
		story.Width = 60
		narrow := text(t, story)
		for line := range strings.Lines(narrow) {
			if strings.Contains(strings.TrimSpace(line), " ") {
				require.LessOrEqual(t, screenWidth(strings.TrimRight(line, "\n")), 60, "%s: %q", lang, line)
			}
		}
		require.Equal(t, whole, strings.Join(strings.Fields(narrow), ""), "breaking lines loses nothing")
	}
}

// screenWidth counts what a terminal would: two columns for an ideograph.
func screenWidth(line string) int {
	n := 0
	for _, r := range line {
		n++
		if r >= 0x2E80 && r <= 0xFFEF {
			n++
		}
	}
	return n
}

func TestALongReportEndsWithItsVerdict(t *testing.T) {
	t.Parallel()
	story := examine(t, nil, logs+"pg_savepoint.log").Tell("en")
	story.Height = 24
	lines := strings.Split(strings.TrimSpace(text(t, story)), "\n")
	require.Equal(t, "↑ "+story.Verdict[0], lines[len(lines)-1])
	story.Height = 1000
	require.NotContains(t, text(t, story), "↑")
}

func TestParseTime(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 22, 3, 0, 0, 0, time.UTC)
	for in, want := range map[string]string{
		"2h": "2026-11-22T01:00:00Z", "3d": "2026-11-19T03:00:00Z", "0.5d": "2026-11-21T15:00:00Z", "90m": "2026-11-22T01:30:00Z",
		"02:30": "2026-11-22T02:30:00Z", "23:10": "2026-11-21T23:10:00Z", "23:10:05": "2026-11-21T23:10:05Z",
		"2026-11-20": "2026-11-20T00:00:00Z", "2026-11-20 10:11": "2026-11-20T10:11:00Z", "2026-11-20T10:11:12+02:00": "2026-11-20T08:11:12Z",
	} {
		at, err := doctor.ParseTime(in, now)
		require.NoError(t, err, in)
		require.Equal(t, want, at.UTC().Format(time.RFC3339), in)
	}
	for _, in := range []string{"yesterday", "-2h", "d", "NaNd", "25:00", "2026-13-01"} {
		_, err := doctor.ParseTime(in, now)
		require.Error(t, err, in)
	}
}

func TestProgressLine(t *testing.T) {
	t.Parallel()
	require.Equal(t, "[##########..............................]  25%  250 MB/s  3s ", doctor.ProgressLine(250e6, 1000e6, time.Second, 200))
	require.Equal(t, "5.0 MB  5 MB/s", doctor.ProgressLine(5e6, 0, time.Second, 80))
	for width := 40; width < 200; width += 10 {
		require.Less(t, len(doctor.ProgressLine(999e6, 1000e6, time.Second, width)), width)
	}
}
