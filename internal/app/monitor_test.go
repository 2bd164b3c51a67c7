package app_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/concord-home/concord/internal/app"
	"github.com/concord-home/concord/internal/doctor"
	"github.com/concord-home/concord/internal/trial"
)

// TestMonitorReadsConcordsMetrics watches /metrics while a conflict happens.
func TestMonitorReadsConcordsMetrics(t *testing.T) {
	t.Parallel()
	c := start(t, trial.Options{Config: func(o *app.Config) { o.MetricsToken = "for-the-monitor" }})
	r := newRival(t, c)
	const entity = "sensor.contested"
	c.Home.Set(entity, "0", nil)
	require.NoError(t, c.AwaitEqual(t.Context()))

	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	begun, conflicted := make(chan struct{}), false
	done := make(chan error, 1)
	var last doctor.View
	go func() {
		first := true
		done <- doctor.WatchMetrics(ctx, c.URL+"/metrics", "for-the-monitor", time.Millisecond, func(v *doctor.View) {
			if first {
				close(begun)
				first = false
			}
			if last = *v; v.Retried > 0 && v.Rate > 0 {
				conflicted = true
				cancel()
			}
		})
	}()
	<-begun
	r.holds(t, `update entity_state set state = state where entity_id = '`+entity+`'`, `concord`, func() { c.Home.Set(entity, "1", nil) })
	require.NoError(t, <-done)
	require.True(t, conflicted)
	require.Len(t, last.Worst, 1)
	worst, _, _ := strings.Cut(last.Worst[0], " (") // what came since the last look
	require.Equal(t, "state_changed ×1", worst)
	require.Zero(t, last.Lost)
	require.Empty(t, last.Problem)
}
