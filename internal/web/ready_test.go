package web_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/concord-home/concord/internal/web"
	"github.com/concord-home/concord/internal/web/hub"
)

// A feed may wake before the subscription knows it; however many others ended
// meanwhile, the screen must be sent what it has.
func TestTheFirstWakeIsKeptAmongThoseOfEndedSubscriptions(t *testing.T) {
	t.Parallel()
	l := web.NewReadyList()
	for id := range int64(200) {
		l.Open(id)
		l.Add(id, &hub.Feed{})
		l.Remove(id)
		l.Woke(id)
	}
	l.Open(1000)
	l.Woke(1000)
	_, none := l.Next()
	require.Nil(t, none)
	feed := &hub.Feed{}
	l.Add(1000, feed)
	id, got := l.Next()
	require.EqualValues(t, 1000, id)
	require.Same(t, feed, got)
	_, none = l.Next()
	require.Nil(t, none)
}
