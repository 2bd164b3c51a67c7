package app_test

import (
	"encoding/json"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/concord-home/concord/hass/simhome"
	"github.com/concord-home/concord/internal/app"
	"github.com/concord-home/concord/internal/pgtest"
	"github.com/concord-home/concord/internal/trial"
)

// A spool says that it is filling up while it still takes everything, and
// afterwards nothing is missing.
func TestTheSpoolWarnsBeforeItIsFull(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("runs a whole Concord")
	}
	url := pgtest.URL(t)
	var sent atomic.Int64
	c := start(t, trial.Options{
		Home:   simhome.Options{Entities: 60, Past: -1, HistoryPerEntity: 1 << 20, Sent: func(simhome.Change) { sent.Add(1) }},
		Config: func(o *app.Config) { o.DatabaseURL, o.SpoolMaxBytes = url, 1<<20 },
	})
	count := func(db *pgx.Conn) (n int64) {
		require.NoError(t, db.QueryRow(t.Context(), `select count(*) from history`).Scan(&n))
		return n
	}
	db, err := pgx.Connect(t.Context(), url)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close(t.Context())) })
	before := count(db) - sent.Load()
	tx, err := db.Begin(t.Context())
	require.NoError(t, err)
	_, err = tx.Exec(t.Context(), `lock table history in access exclusive mode`)
	require.NoError(t, err)

	type ready struct {
		Up      bool   `json:"spool"`
		Trouble string `json:"spool_trouble"`
	}
	look := func() (r ready) {
		resp, err := c.HTTP.Get(c.URL + "/health/ready")
		require.NoError(t, err)
		defer resp.Body.Close()
		require.NoError(t, json.NewDecoder(resp.Body).Decode(&r))
		return r
	}
	require.Equal(t, ready{Up: true}, look())
	c.Home.SetRate(800)
	var seen ready
	require.Eventually(t, func() bool { seen = look(); return seen.Trouble != "" }, time.Minute, 50*time.Millisecond)
	require.True(t, seen.Up, "it warns too late: "+seen.Trouble)
	require.Contains(t, seen.Trouble, "% full")
	c.Home.SetRate(2000)
	require.Eventually(t, func() bool { return !look().Up }, time.Minute, 50*time.Millisecond)
	c.Home.SetRate(0)

	require.NoError(t, tx.Rollback(t.Context()))
	require.NoError(t, c.AwaitEqual(t.Context()))
	require.Eventually(t, func() bool { return look() == ready{Up: true} }, time.Minute, 50*time.Millisecond)
	require.Eventually(t, func() bool { return count(db)-before == sent.Load() }, time.Minute, 50*time.Millisecond)
}
