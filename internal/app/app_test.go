package app_test

import (
	"context"
	"encoding/json"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/concord-home/concord"
	"github.com/concord-home/concord/hass/simhome"
	"github.com/concord-home/concord/internal/app"
	"github.com/concord-home/concord/internal/lab"
	"github.com/concord-home/concord/internal/trial"
)

func start(t *testing.T, o trial.Options) *trial.Trial {
	t.Helper()
	if testing.Short() {
		t.Skip("runs a whole Concord, PostgreSQL included")
	}
	c, err := trial.Start(t.Context(), o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, c.Stop()) })
	return c
}

func query[T any](t *testing.T, c *trial.Trial, sql string, args ...any) T {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), c.DB)
	require.NoError(t, err)
	defer conn.Close(t.Context())
	rows, err := conn.Query(t.Context(), sql, args...)
	require.NoError(t, err)
	v, err := pgx.CollectExactlyOneRow(rows, pgx.RowTo[T])
	require.NoError(t, err)
	return v
}

func TestConcord(t *testing.T) {
	t.Parallel()

	t.Run("RowsFollowTheHome", func(t *testing.T) {
		t.Parallel()
		c := start(t, trial.Options{})
		c.Home.Emit(2000)
		require.NoError(t, c.AwaitEqual(t.Context()))
		c.Home.Set("sensor.brand_new", "42", json.RawMessage(`{"friendly_name":"Brand new"}`))
		c.Home.Remove("light.kitchen_ceiling_light")
		require.NoError(t, c.AwaitEqual(t.Context()))
		require.Equal(t, "42", query[string](t, c, `select state from entity_state where entity_id = 'sensor.brand_new'`))
	})

	t.Run("RowsFollowAHomeWhoseClockStepsBack", func(t *testing.T) {
		t.Parallel()
		c := start(t, trial.Options{})
		c.Home.Emit(200)
		c.Home.StepClock(-time.Hour)
		c.Home.Emit(200)
		require.NoError(t, c.AwaitEqual(t.Context()))
	})

	t.Run("RowsAreRightAfterALostConnection", func(t *testing.T) {
		t.Parallel()
		c := start(t, trial.Options{})
		c.HomeOff()
		c.Home.Emit(500)
		c.Home.Set("sensor.while_away", "1", nil)
		require.NoError(t, c.HomeOn())
		require.NoError(t, c.AwaitEqual(t.Context()))
	})

	t.Run("ADeadbandOfADeviceClass", func(t *testing.T) {
		t.Parallel()
		rule, err := concord.ParseDeadbandRule("class=power: absolute=5")
		require.NoError(t, err)
		c := start(t, trial.Options{Config: func(o *app.Config) { o.Deadband = []concord.DeadbandRule{rule} }})
		var sensor string
		for _, s := range c.Home.States() {
			if strings.Contains(string(s.Attributes), `"device_class":"power"`) {
				sensor = s.EntityID
			}
		}
		for _, watts := range []string{"100000", "100001", "100006"} {
			c.Home.Set(sensor, watts, nil)
			require.NoError(t, c.AwaitEqual(t.Context()))
		}
		require.Equal(t, "100000 100006", query[string](t, c, `
			select string_agg(state, ' ' order by last_updated) from state_history_named where entity_id = $1 and value >= 100000`, sensor))
	})

	t.Run("AServiceCallReachesTheHomeAndComesBack", func(t *testing.T) {
		t.Parallel()
		c := start(t, trial.Options{})
		id := entityOf(t, c, "light", "off")
		var result struct {
			Success bool
			Error   string
		}
		require.NoError(t, c.Call("/odoo_ha_addon/call_service", map[string]any{
			"domain": "light", "service": "turn_on", "service_data": map[string]any{"entity_id": id},
		}, &result))
		require.True(t, result.Success, result.Error)
		require.Equal(t, "on", c.Home.State(id).State)
		require.NoError(t, c.AwaitEqual(t.Context()))
	})

	t.Run("RequestsSucceedBesideAnAdversary", func(t *testing.T) {
		t.Parallel()
		c := start(t, trial.Options{Home: simhome.Options{Entities: 70, Areas: 6, Rate: 25}})
		fight, end := context.WithCancel(t.Context())
		fought := make(chan error, 1)
		var report lab.AdversaryReport
		go func() {
			var err error
			report, err = lab.Adversary{URL: c.DB, Home: c.HomeID}.Run(fight)
			fought <- err
		}()
		var wg sync.WaitGroup
		failures := make(chan error, 200)
		for i := range 20 {
			wg.Go(func() {
				for range 10 {
					if err := c.Areas(i%2 == 0); err != nil {
						failures <- err
					}
				}
			})
		}
		wg.Wait()
		c.Home.SetRate(0)
		require.NoError(t, c.AwaitEqual(t.Context()))
		end()
		require.NoError(t, <-fought)
		require.Empty(t, failures)
		require.Positive(t, report.Commits)
		_, in25P02 := c.ServerLog()
		require.Zero(t, in25P02)
	})

	t.Run("ABadRecordCostsItselfOnly", func(t *testing.T) {
		t.Parallel()
		c := start(t, trial.Options{})
		c.Home.Set("sensor.nul", "a", json.RawMessage(`{"x":"\u0000"}`))
		c.Home.Set("sensor.fine", "b", nil)
		require.Eventually(t, func() bool {
			return query[int](t, c, `select count(*)::int from quarantine where entity_id = 'sensor.nul'`) > 0 &&
				query[int](t, c, `select count(*)::int from entity_state where entity_id = 'sensor.fine'`) == 1
		}, 20*time.Second, 20*time.Millisecond)
		require.NoError(t, c.Areas(true))
	})

	t.Run("DataAndSessionSurviveARestart", func(t *testing.T) {
		t.Parallel()
		c := start(t, trial.Options{})
		jar := c.HTTP.Jar
		require.NoError(t, c.StopConcord())
		c.Home.Emit(300)
		require.NoError(t, c.StartConcord(t.Context()))
		require.NoError(t, c.AwaitEqual(t.Context()))
		c.HTTP.Jar = jar
		require.NoError(t, c.Areas(false))
	})
}

func entityOf(t *testing.T, c *trial.Trial, domain, state string) string {
	t.Helper()
	return query[string](t, c, `select entity_id from entity_state where entity_id like $1 and state = $2 order by 1 limit 1`, domain+".%", state)
}

func TestPageWithoutDatabase(t *testing.T) {
	t.Parallel()
	c := start(t, trial.Options{})
	pid, err := c.ServerPID()
	require.NoError(t, err)
	stopProcess(t, pid)
	for range 20 {
		require.NoError(t, c.Areas(false), "answered from memory while PostgreSQL does not answer")
	}
	c.Home.Set("sensor.while_down", "1", nil)
	continueProcess(t, pid)
	require.NoError(t, c.AwaitEqual(t.Context()))
	require.NoError(t, c.Areas(true))
}
