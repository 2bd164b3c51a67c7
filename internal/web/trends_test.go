package web_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestTrends(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var asked atomic.Int32
	b.link.command = func(_ context.Context, _ int64, command json.RawMessage) (json.RawMessage, error) {
		asked.Add(1)
		var p struct {
			Type string   `json:"type"`
			IDs  []string `json:"entity_ids"`
		}
		if err := json.Unmarshal(command, &p); err != nil {
			return nil, err
		}
		ago := func(hours float64) float64 {
			return float64(time.Now().Add(-time.Duration(hours*float64(time.Hour))).UnixMilli()) / 1000
		}
		return fmt.Appendf(nil, `{"sensor.kitchen_temperature":[{"s":"20","lu":%f},{"s":"unavailable","lu":%f},{"s":"22.5","lu":%f}],"binary_sensor.door":[{"s":"on","lu":%f}]}`,
			ago(30), ago(11), ago(1), ago(30)), nil
	}
	c := b.screen(t)
	ask := func() map[string][]any {
		m := c.call("concord/trends", map[string]any{
			"entity_ids": []string{"sensor.kitchen_temperature", "binary_sensor.door", "sensor.cpu", "sensor.nothing"}, "hours": 24, "points": 4,
		})
		require.True(t, m.Success, m.Error)
		var result map[string][]any
		require.NoError(t, json.Unmarshal(m.Result, &result))
		return result
	}
	want := map[string][]any{"sensor.kitchen_temperature": {20.0, 20.0, nil, 22.5}}
	require.Equal(t, want, ask())
	require.Equal(t, want, ask())
	require.EqualValues(t, 1, asked.Load(), "the second answer comes from memory")

	m := c.call("concord/trends", map[string]any{"entity_ids": strings.Fields(strings.Repeat("sensor.cpu ", 61))})
	require.Equal(t, "invalid_format", m.Error.Code)
}
