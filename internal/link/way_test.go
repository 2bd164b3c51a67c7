package link_test

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/require"

	"github.com/concord-home/concord"
	"github.com/concord-home/concord/hass"
	"github.com/concord-home/concord/hass/simhome"
	"github.com/concord-home/concord/internal/link"
)

// way is one to a home on which the list of the registry's entities waits, on the
// first connection.
type way struct {
	asked  func(*simhome.Home) // before the home is
	answer chan struct{}       // closed when it may pass

	home *simhome.Home
	url  string
	used atomic.Bool
	list atomic.Int64
	told chan bool // of the registry's changes
}

func (w *way) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	near, err := websocket.Accept(rw, r, nil)
	if err != nil {
		return
	}
	defer near.CloseNow()
	far, _, err := websocket.Dial(r.Context(), w.url+r.URL.Path, nil)
	if err != nil {
		return
	}
	defer far.CloseNow()
	far.SetReadLimit(-1)
	there, back := w.there, w.back
	if w.used.Swap(true) {
		there = func(int64, []byte) chan struct{} { return nil }
		back = there
	}
	go func() { defer near.CloseNow(); pass(r.Context(), far, near, back) }()
	pass(r.Context(), near, far, there)
}

func pass(ctx context.Context, from, to *websocket.Conn, look func(id int64, text []byte) (held chan struct{})) {
	for {
		_, text, err := from.Read(ctx)
		if err != nil {
			return
		}
		var m struct{ ID int64 }
		_ = json.Unmarshal(text, &m)
		text = bytes.Replace(text, []byte(`"coalesce_messages":1`), []byte(`"coalesce_messages":0`), 1)
		if held := look(m.ID, text); held != nil {
			go func() { <-held; _ = to.Write(ctx, websocket.MessageText, text) }()
		} else if to.Write(ctx, websocket.MessageText, text) != nil {
			return
		}
	}
}

func (w *way) there(id int64, text []byte) chan struct{} {
	if bytes.Contains(text, []byte("config/entity_registry/list")) && w.list.CompareAndSwap(0, id) {
		<-w.told
		w.asked(w.home)
	}
	return nil
}

func (w *way) back(id int64, _ []byte) chan struct{} {
	if id == 2 { // the first subscription
		select {
		case w.told <- true:
		default:
		}
	}
	if id != 0 && id == w.list.Load() {
		return w.answer
	}
	return nil
}

func setupWay(t *testing.T, w *way) *bundle {
	t.Helper()
	return setupHome(t, func(home *simhome.Home, url string) http.Handler {
		w.home, w.url, w.told = home, url, make(chan bool, 1)
		return w
	}, func(b *bundle) link.Feed { return b.live })
}

func TestAHomeThatIsSlowToTellItsNames(t *testing.T) {
	t.Parallel()

	t.Run("ShowsItsStates", func(t *testing.T) {
		t.Parallel()
		w := &way{asked: func(*simhome.Home) {}, answer: make(chan struct{})}
		b := setupWay(t, w)
		b.home.Set("sensor.x", "1", nil)
		b.awaitLive(t, "sensor.x", "1")
		close(w.answer)
		require.Equal(t, []concord.BatchKind{concord.BatchOpened, concord.BatchNames, concord.BatchStates}, kinds(b.spool.await(t, snapshots(1)))[:3])
	})

	t.Run("AndGoesAwayMustNotHaveItsStatesTakenForOthers", func(t *testing.T) {
		t.Parallel()
		w := &way{asked: func(*simhome.Home) {}, answer: make(chan struct{})}
		b := setupWay(t, w)
		b.home.Set("sensor.x", "1", nil)
		b.awaitLive(t, "sensor.x", "1")
		b.home.Disconnect()
		all := kinds(b.spool.await(t, snapshots(1)))
		require.Equal(t, []concord.BatchKind{concord.BatchOpened, concord.BatchNames, concord.BatchStates, concord.BatchSnapshot}, all, "all that is spooled is of the next connection")
		close(w.answer)
	})

	t.Run("TellsThoseThatItGivesMeanwhile", func(t *testing.T) {
		t.Parallel()
		var id string
		w := &way{answer: make(chan struct{}), asked: func(home *simhome.Home) {
			states := home.States()
			id = states[slices.IndexFunc(states, func(s *hass.State) bool { return strings.HasPrefix(s.EntityID, "sensor.") })].EntityID
			home.Rename(id, "sensor.renamed")
		}}
		b := setupWay(t, w)
		require.Eventually(t, func() bool { return b.live.State(1, "sensor.renamed") != nil }, 20*time.Second, time.Millisecond)
		close(w.answer)
		all := b.spool.await(t, snapshots(1))
		require.Equal(t, concord.BatchNames, all[1].Kind)
		called := func(name string) bool {
			return slices.ContainsFunc(all[1].Snapshot.Registry.Entities, func(e concord.Entity) bool { return e.EntityID == name })
		}
		require.True(t, called(id), "it was called that when the connection began")
		require.False(t, called("sensor.renamed"))
		require.Positive(t, place(all, func(r concord.Record) bool { return r.RenamedFrom == id }))
	})
}
