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
	var screen strings.Builder
	var views []doctor.View
	show := doctor.LogViews(path, func(v *doctor.View) {
		v.WriteLine(&screen, "en")
		views = append(views, *v)
	})
	written := false
	_, err = pglog.Analyze(ctx, []pglog.Input{{Path: path, Name: "server.log", Reader: tail, Follow: true}}, pglog.Options{
		Prefix: "%m [%p] %q%u@%d ",
		Update: func(r *pglog.Result) {
			show(r)
			switch {
			case r.Totals.Roots == 1 && !written:
				written = true
				appendTo(t, path, echoLine)
			case r.Totals.Cascades == 1:
				cancel()
			}
		},
	})
	require.NoError(t, err)
	last := views[len(views)-1]
	require.Len(t, last.Worst, 1)
	require.Contains(t, last.Worst[0], "40001 stock ×1")
	require.Equal(t, int64(1), last.Lost, "an echo shows that the program went on")
	require.Positive(t, last.Cascades, "the echo came while it watched")
	require.Len(t, strings.Split(strings.TrimSpace(screen.String()), "\n"), len(views))
	require.NotContains(t, screen.String(), "\033", "no terminal")
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
