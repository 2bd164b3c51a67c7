package app_test

import (
	"context"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/concord-home/concord/hass/simhome"
	"github.com/concord-home/concord/internal/app"
	"github.com/concord-home/concord/internal/pgtest"
	"github.com/concord-home/concord/internal/trial"
)

// besides runs another Concord, with a data directory of its own, on the same
// database and home. It returns its address and its log, and what ends it.
func besides(t *testing.T, c *trial.Trial) (address string, log *logText, stop func()) {
	t.Helper()
	log = &logText{}
	config := app.Config{
		Listen: "127.0.0.1:0", DataDir: t.TempDir(), DatabaseURL: c.DB, AdminPassword: trial.Password,
		Logger: slog.New(slog.NewTextHandler(log, nil)),
	}
	config.HAURL, config.HAToken = c.HomeAddress()
	a, err := app.New(t.Context(), config)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	return "http://" + a.Addr(), log, func() {
		cancel()
		require.NoError(t, <-ended)
	}
}

func ready(t *testing.T, address string) int {
	t.Helper()
	resp, err := http.Get(address + "/health/ready")
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	return resp.StatusCode
}

func onDatabase(url string, home simhome.Options) trial.Options {
	return trial.Options{Home: home, Config: func(o *app.Config) { o.DatabaseURL = url }}
}

func TestTwoConcordsOnOneDatabase(t *testing.T) {
	t.Parallel()

	t.Run("TheSecondWaitsAndTakesOver", func(t *testing.T) {
		t.Parallel()
		c := start(t, onDatabase(pgtest.URL(t), simhome.Options{}))
		c.Home.SetRate(200)
		address, log, stop := besides(t, c)
		defer stop()
		require.Equal(t, http.StatusServiceUnavailable, ready(t, address))
		require.Equal(t, 1, int(query[int64](t, c, `select term from spool_position`)), "the second wrote nothing")
		awaitProgress(t, c)
		require.NoError(t, c.Areas(true))
		require.NoError(t, c.StopConcord())
		require.Eventually(t, func() bool { return ready(t, address) == http.StatusOK }, 30*time.Second, 20*time.Millisecond)
		awaitProgress(t, c)
		c.Home.SetRate(0)
		require.NoError(t, c.AwaitEqual(t.Context()))
		require.Equal(t, 1, strings.Count(log.String(), "another Concord writes this home"), "one line")
		require.Contains(t, log.String(), "concord writer host=")
	})

	t.Run("TheFirstIsKilled", func(t *testing.T) {
		t.Parallel()
		if testing.Short() {
			t.Skip("runs a whole Concord, PostgreSQL included")
		}
		path, err := binary()
		require.NoError(t, err)
		c := start(t, trial.Options{
			Binary: path, Home: simhome.Options{Entities: 200}, Env: map[string]string{"DATABASE_URL": pgtest.URL(t)},
		})
		c.Home.SetRate(200)
		address, _, stop := besides(t, c)
		defer stop()
		require.NoError(t, c.KillConcord())
		require.Eventually(t, func() bool { return ready(t, address) == http.StatusOK }, 30*time.Second, 20*time.Millisecond)
		require.NoError(t, c.StartConcord(t.Context()), "the first is the second now")
		require.Equal(t, http.StatusServiceUnavailable, ready(t, c.URL))
		c.Home.SetRate(0)
		require.NoError(t, c.AwaitEqual(t.Context()))
	})

	t.Run("TheFirstTakesItsLeaseAgain", func(t *testing.T) {
		t.Parallel()
		c := start(t, onDatabase(pgtest.URL(t), simhome.Options{}))
		c.Home.SetRate(200)
		for range 3 {
			term := query[int64](t, c, `select term from spool_position`)
			query[bool](t, c, `select bool_and(pg_terminate_backend(pid)) from pg_stat_activity where datname = current_database() and application_name like 'concord writer %'`)
			require.Eventually(t, func() bool { return query[int64](t, c, `select term from spool_position`) == term+1 }, 30*time.Second, 20*time.Millisecond)
			awaitProgress(t, c)
		}
		require.EqualValues(t, 0, metric(t, c, `concord_home_link_losses_total{home="1"}`), "the link to the home goes on")
		c.Home.SetRate(0)
		require.NoError(t, c.AwaitEqual(t.Context()))
	})
}
