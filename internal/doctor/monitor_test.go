package doctor_test

import (
	"context"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/concord-home/concord/internal/doctor"
	"github.com/concord-home/concord/internal/pglog"
	"github.com/concord-home/concord/internal/pgtest"
)

const (
	conflictLines = "2026-11-22 10:00:00.100 UTC [7] u@d ERROR:  could not serialize access due to concurrent update\n" +
		"2026-11-22 10:00:00.100 UTC [7] u@d STATEMENT:  UPDATE stock SET qty = 1\n"
	echoLine = "2026-11-22 10:00:00.200 UTC [7] u@d ERROR:  current transaction is aborted, commands ignored until end of transaction block\n"
)

// TestMonitorOfALogThatIsWritten shows what comes to the log after the monitor began, one plain line a look.
func TestMonitorOfALogThatIsWritten(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "server.log")
	appendTo(t, path, conflictLines)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	tail, err := doctor.NewTail(ctx, path, false)
	require.NoError(t, err)
	defer func() { require.NoError(t, tail.Close()) }()
	monitor := doctor.NewLogMonitor(path)
	written := false
	_, err = pglog.Analyze(ctx, []pglog.Input{{Path: path, Name: "server.log", Reader: tail, Follow: true}}, pglog.Options{
		Prefix: "%m [%p] %q%u@%d ",
		Update: func(r *pglog.Result) {
			monitor.Update(r)
			switch {
			case r.Totals.Roots == 1 && !written:
				written = true
				require.Zero(t, monitor.View(time.Now()).Lost)
				appendTo(t, path, echoLine)
			case r.Totals.Cascades == 1:
				cancel()
			}
		},
	})
	require.NoError(t, err)
	now := time.Now()
	last := monitor.View(now)
	require.Equal(t, []string{"40001 stock ×1"}, last.Worst)
	require.Equal(t, int64(1), last.Lost, "an echo shows that the program went on")
	require.Equal(t, []float64{1, 1}, []float64{last.Rate, last.Cascades}, "by the log's own clock both came within the last minute")
	later := monitor.View(now.Add(2 * time.Minute))
	require.Zero(t, later.Rate, "nothing came for two minutes")
	var line, screen strings.Builder
	last.WriteLine(&line, "en")
	require.Equal(t, 1, strings.Count(line.String(), "\n"))
	require.NotContains(t, line.String(), "\033", "no terminal")
	last.WriteScreen(&screen, "en", 30)
	for row := range strings.Lines(screen.String()) {
		require.LessOrEqual(t, len([]rune(strings.NewReplacer("\033[H", "", "\033[K", "", "\033[J", "", "\n", "").Replace(row))), 30, row)
	}
}

// TestMonitorOfADatabase names who blocks whom, and goes on when the server cannot be read.
func TestMonitorOfADatabase(t *testing.T) {
	if testing.Short() {
		t.Skip("starts PostgreSQL")
	}
	url := pgtest.URL(t)
	holder, waiter := connect(t, url), connect(t, url)
	exec(t, holder, "CREATE TABLE held(id int PRIMARY KEY, qty int); INSERT INTO held VALUES (1, 1)")
	exec(t, holder, "BEGIN; UPDATE held SET qty = 2 WHERE id = 1")
	waited := make(chan error, 1)
	go func() {
		_, err := waiter.Exec(context.Background(), "UPDATE held SET qty = 3 WHERE id = 1")
		waited <- err
	}()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	var blockers []doctor.Blocker
	require.NoError(t, doctor.WatchDatabase(ctx, url, time.Millisecond, func(v *doctor.View) {
		var screen strings.Builder
		v.WriteScreen(&screen, "en", 80)
		if len(v.Blockers) > 0 {
			blockers = v.Blockers
			require.Contains(t, screen.String(), "blocks")
			cancel()
		}
	}))
	require.Len(t, blockers, 1)
	require.Contains(t, blockers[0].Query, "UPDATE held SET qty = 2")
	exec(t, holder, "ROLLBACK")
	require.NoError(t, <-waited)
}

func TestMonitorTellsAtOnceThatThereIsNothingToWatch(t *testing.T) {
	t.Parallel()
	never := func(*doctor.View) { require.Fail(t, "a view of nothing") }
	err := doctor.WatchDatabase(t.Context(), "postgres://me:verysecret@127.0.0.1:1/none?connect_timeout=1", time.Second, never)
	require.Error(t, err)
	require.NotContains(t, err.Error(), "verysecret")
	require.Error(t, doctor.WatchMetrics(t.Context(), "http://127.0.0.1:1/metrics", "", time.Second, never))
}
