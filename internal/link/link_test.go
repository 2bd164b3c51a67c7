package link_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/concord-home/concord"
	"github.com/concord-home/concord/hass/simhome"
	"github.com/concord-home/concord/internal/link"
	"github.com/concord-home/concord/internal/live"
)

// spool is a concord.Spool in memory that can be closed and opened.
type spool struct {
	concord.Spool
	mu      sync.Mutex
	closed  bool
	batches []concord.Batch
	changed chan struct{}
}

func (s *spool) Publish(_ context.Context, b *concord.Batch) (uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return 0, concord.Errorf(concord.CodeUnavailable, "closed")
	}
	s.batches = append(s.batches, *b)
	select {
	case s.changed <- struct{}{}:
	default:
	}
	return uint64(100 + len(s.batches)), nil
}

func (s *spool) setClosed(closed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = closed
}

// await returns the batches once ok says yes to them.
func (s *spool) await(t *testing.T, ok func([]concord.Batch) bool) []concord.Batch {
	t.Helper()
	late := time.After(20 * time.Second)
	for {
		s.mu.Lock()
		all := append([]concord.Batch(nil), s.batches...)
		s.mu.Unlock()
		if ok(all) {
			return all
		}
		select {
		case <-s.changed:
		case <-late:
			t.Fatalf("%d batches, and not what was waited for", len(all))
		}
	}
}

type bundle struct {
	home  *simhome.Home
	live  *live.Model
	spool *spool
	owner *link.Owner
}

// feed is a live model that is told of a registry after a test.
type feed struct {
	*live.Model
	registry func()
}

func (f *feed) SetRegistry(home int64, r *concord.Registry) {
	f.registry()
	f.Model.SetRegistry(home, r)
}

func setup(t *testing.T) *bundle {
	t.Helper()
	return setupFeed(t, func(b *bundle) link.Feed { return b.live })
}

// setupWith calls registry each time that Concord has read the registry.
func setupWith(t *testing.T, registry func(b *bundle)) *bundle {
	t.Helper()
	return setupFeed(t, func(b *bundle) link.Feed { return &feed{b.live, func() { registry(b) }} })
}

func setupFeed(t *testing.T, feed func(b *bundle) link.Feed) *bundle {
	t.Helper()
	return setupHome(t, func(home *simhome.Home, _ string) http.Handler { return home }, feed)
}

// setupHome has Concord reach the home, which is at an address, another way.
func setupHome(t *testing.T, way func(home *simhome.Home, url string) http.Handler, feed func(b *bundle) link.Feed) *bundle {
	t.Helper()
	home, err := simhome.New(simhome.Options{Seed: 1})
	require.NoError(t, err)
	direct := httptest.NewServer(home)
	t.Cleanup(direct.Close)
	server := httptest.NewServer(way(home, direct.URL))
	b := &bundle{home: home, live: live.New(), spool: &spool{changed: make(chan struct{}, 1)}}
	h := concord.Home{ID: 1, URL: "ws" + strings.TrimPrefix(server.URL, "http") + "/api/websocket"}
	b.live.SetHome(h, true)
	b.owner, err = link.New(link.Options{Home: h, Token: home.Token(), Feed: feed(b), Spool: b.spool})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); b.owner.Run(ctx) }() //nolint:errcheck // returns with its context
	t.Cleanup(func() { cancel(); <-done; home.Close(); server.Close() })
	return b
}

// starting is the feed of a home that is starting: it adds an entity when its
// states have come.
type starting struct {
	link.Feed
	add func()
}

func (s starting) Replace(home int64, states []*concord.State) {
	s.Feed.Replace(home, states)
	s.add()
}

// in returns the kinds of the batches that have an entity.
func in(all []concord.Batch, id string) (kinds []concord.BatchKind) {
	for _, b := range all {
		for _, r := range b.Records {
			if r.State.EntityID == id {
				kinds = append(kinds, b.Kind)
			}
		}
	}
	return kinds
}

func (b *bundle) awaitLive(t *testing.T, id, state string) {
	t.Helper()
	require.Eventually(t, func() bool {
		s := b.live.State(1, id)
		return s != nil && s.State == state
	}, 20*time.Second, time.Millisecond)
}

func spooled(id, state string) func([]concord.Batch) bool {
	return func(all []concord.Batch) bool {
		for _, b := range all {
			for _, r := range b.Records {
				if r.State.EntityID == id && r.State.State == state {
					return true
				}
			}
		}
		return false
	}
}

func snapshots(n int) func([]concord.Batch) bool {
	return func(all []concord.Batch) bool {
		found := 0
		for _, b := range all {
			if b.Kind == concord.BatchSnapshot {
				found++
			}
		}
		return found >= n
	}
}

func TestOwner(t *testing.T) {
	t.Parallel()

	t.Run("ALaterConnectionHasALargerEpoch", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		b.spool.await(t, snapshots(1))
		b.home.Disconnect()
		all := b.spool.await(t, snapshots(2))
		var epochs []int64
		for _, batch := range all {
			if batch.Kind == concord.BatchSnapshot {
				epochs = append(epochs, batch.Epoch)
			}
		}
		require.Less(t, epochs[0], epochs[1])
	})

	t.Run("LiveDoesNotWaitForTheSpool", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		b.spool.await(t, snapshots(1))
		b.spool.setClosed(true)
		b.home.Set("sensor.x", "1", nil)
		b.awaitLive(t, "sensor.x", "1")
		b.home.Set("sensor.x", "2", nil)
		b.awaitLive(t, "sensor.x", "2")
		b.spool.setClosed(false)
		all := b.spool.await(t, spooled("sensor.x", "2"))
		require.True(t, spooled("sensor.x", "1")(all), "nothing that waited is lost")
	})

	t.Run("AHomeThatIsStartingGoesOnWithItsStates", func(t *testing.T) {
		t.Parallel()
		b := setupFeed(t, func(b *bundle) link.Feed { return starting{b.live, func() { b.home.Set("sensor.late", "1", nil) }} })
		b.spool.await(t, snapshots(1))
		b.home.Set("sensor.new", "1", nil)
		b.home.Set("sensor.late", "2", nil)
		all := b.spool.await(t, spooled("sensor.late", "2"))
		require.Equal(t, []concord.BatchKind{concord.BatchStates, concord.BatchSnapshot, concord.BatchEvents}, in(all, "sensor.late"), "it may have been known before")
		require.Equal(t, []concord.BatchKind{concord.BatchEvents}, in(all, "sensor.new"))
	})

	t.Run("AClockThatStepsBackMakesConcordAsk", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		b.home.Set("sensor.x", "1", nil)
		b.awaitLive(t, "sensor.x", "1")
		b.spool.await(t, snapshots(1))
		b.home.StepClock(-time.Hour)
		b.home.Set("sensor.x", "2", nil)
		b.awaitLive(t, "sensor.x", "2")
		b.spool.await(t, snapshots(2))
	})

	t.Run("WishesThatComeTogetherShareASnapshot", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		b.spool.await(t, snapshots(1))
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() {
				_, err := b.owner.Snapshot(t.Context(), "get_areas")
				require.NoError(t, err)
			})
		}
		wg.Wait()
		require.False(t, snapshots(30)(b.spool.await(t, snapshots(2))))
	})

	t.Run("ARefusalOfTheHomeHasACodeAndItsWords", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		b.spool.await(t, snapshots(1))
		_, err := b.owner.Command(t.Context(), json.RawMessage(`{"type":"no_such_command"}`))
		require.Equal(t, concord.CodeInvalid, concord.ErrorCode(err))
		b.home.Close()
	})
}
