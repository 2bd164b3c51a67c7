package live_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/concord-home/concord"
	"github.com/concord-home/concord/internal/live"
)

type watcher struct {
	mu       sync.Mutex
	states   map[string]string
	statuses []concord.LinkState
}

func (w *watcher) StatesChanged(changes []concord.Change) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range changes {
		if c.New == nil {
			delete(w.states, c.EntityID)
			continue
		}
		w.states[c.EntityID] = c.New.State
	}
}
func (w *watcher) RegistryChanged(*concord.Registry) {}
func (w *watcher) StatusChanged(s concord.HomeStatus) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.statuses = append(w.statuses, s.Link)
}

func change(id, state string) concord.Change {
	return concord.Change{EntityID: id, New: &concord.State{EntityID: id, State: state}}
}

func TestModel(t *testing.T) {
	t.Parallel()
	setup := func(*testing.T) *live.Model {
		m := live.New()
		m.SetHome(concord.Home{ID: 1, Name: "Home"}, true)
		return m
	}

	t.Run("WatcherSeesEveryChangeAfterItsSnapshot", func(t *testing.T) {
		t.Parallel()
		m := setup(t)
		var wg sync.WaitGroup
		wg.Go(func() {
			for i := range 2000 {
				m.Apply(1, []concord.Change{change(fmt.Sprint("sensor.", i%50), fmt.Sprint(i))})
			}
		})
		w := &watcher{states: make(map[string]string)}
		w.mu.Lock()
		now, stop, err := m.Watch(1, w)
		require.NoError(t, err)
		for _, s := range now {
			w.states[s.EntityID] = s.State
		}
		w.mu.Unlock()
		wg.Wait()
		stop()
		all, err := m.States(1)
		require.NoError(t, err)
		require.Len(t, all, 50)
		for _, s := range all {
			require.Equal(t, s.State, w.states[s.EntityID])
		}
	})

	t.Run("ReplaceRemovesWhatIsGone", func(t *testing.T) {
		t.Parallel()
		m := setup(t)
		m.Apply(1, []concord.Change{change("a.a", "1"), change("a.b", "1")})
		w := &watcher{states: map[string]string{"a.a": "1", "a.b": "1"}}
		_, _, err := m.Watch(1, w)
		require.NoError(t, err)
		m.Replace(1, []*concord.State{{EntityID: "a.b", State: "2"}})
		require.Equal(t, map[string]string{"a.b": "2"}, w.states)
		require.Nil(t, m.State(1, "a.a"))
	})

	t.Run("StatusTellsOfChangesNotOfTimes", func(t *testing.T) {
		t.Parallel()
		m := setup(t)
		w := &watcher{}
		_, _, err := m.Watch(1, w)
		require.NoError(t, err)
		m.UpdateStatus(1, func(s *concord.HomeStatus) { s.LastMessage = time.Now() })
		m.UpdateStatus(1, func(s *concord.HomeStatus) { s.Link = concord.LinkConnected })
		require.Equal(t, []concord.LinkState{concord.LinkConnected}, w.statuses)
	})

	t.Run("UnknownHomeIsNotFound", func(t *testing.T) {
		t.Parallel()
		_, err := setup(t).Home(2)
		require.Equal(t, concord.CodeNotFound, concord.ErrorCode(err))
	})
}
