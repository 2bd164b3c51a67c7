package hub_test

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/concord-home/concord/internal/web/hub"
)

// What a screen begins with is what its subscriptions would send first.
func TestFirstIsWhatSubscriptionsBeginWith(t *testing.T) {
	t.Parallel()
	h := setup(t, nil, state("light.a", "off", `{"friendly_name":"A"}`), state("light.b", "on", `{}`))
	extra := func() json.RawMessage { return json.RawMessage(`{"home":1}`) }
	first, err := h.hub.First(hub.Unassigned, extra)
	require.NoError(t, err)
	overview := read(func(wake func()) *hub.Feed { return h.hub.Overview(extra, wake) })
	area := read(func(wake func()) *hub.Feed { return h.hub.Area(hub.Unassigned, "", wake) })
	states := read(func(wake func()) *hub.Feed { return h.hub.Entities([]string{"light.a", "light.b"}, wake) })
	require.JSONEq(t, string(overview.next(t)), string(first.Overview))
	require.JSONEq(t, string(area.next(t)), string(first.Area))
	require.JSONEq(t, string(states.next(t)), string(first.States))

	none, err := h.hub.First("no such area", extra)
	require.NoError(t, err)
	require.Nil(t, none.Area)
}

func TestKnownAreaIsNotSentAgain(t *testing.T) {
	t.Parallel()
	h := setup(t, nil, state("light.a", "off", `{"friendly_name":"A"}`))
	first, err := h.hub.First(hub.Unassigned, func() json.RawMessage { return nil })
	require.NoError(t, err)
	area := read(func(wake func()) *hub.Feed { return h.hub.Area(hub.Unassigned, first.Known, wake) })
	_, more, err := area.feed.Next(nil)
	require.NoError(t, err)
	require.False(t, more)
	h.set(state("light.a", "off", `{"friendly_name":"B"}`))
	require.Contains(t, string(area.next(t)), `"name":"B"`)
}
