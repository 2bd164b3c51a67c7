// Package live holds the current state of every home in memory.
//
// The goroutine that reads a home's connection feeds it, so what is here never
// waits behind the spool or the database. Feeding and watching one home are
// serialised: a watcher gets the states as they stand at one point, and then
// every change after that point, once and in order. Reads take a lock of their
// own that is held for one map access, so a slow watcher delays its home's
// feed, never a reader.
package live

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"github.com/concord-home/concord"
)

// Model is the live state of all homes. It implements [concord.Live].
type Model struct {
	mu    sync.RWMutex
	homes map[int64]*home
}

type home struct {
	feed     sync.Mutex // held while the home changes and while watchers are told
	watchers map[int]concord.Watcher
	next     int

	mu       sync.RWMutex
	status   concord.HomeStatus
	registry *concord.Registry
	states   map[string]*concord.State
}

// New returns a model without homes.
func New() *Model { return &Model{homes: make(map[int64]*home)} }

var emptyRegistry = concord.NewRegistry(nil, nil, nil, nil, nil, false)

// SetHome adds a home, or replaces what is configured of one.
func (m *Model) SetHome(h concord.Home, hasToken bool) {
	m.mu.Lock()
	existing := m.homes[h.ID]
	if existing == nil {
		m.homes[h.ID] = &home{
			watchers: make(map[int]concord.Watcher), registry: emptyRegistry, states: make(map[string]*concord.State),
			status: concord.HomeStatus{Home: h, HasToken: hasToken, Link: concord.LinkDisconnected, Since: time.Now()},
		}
	}
	m.mu.Unlock()
	if existing != nil {
		m.UpdateStatus(h.ID, func(s *concord.HomeStatus) { s.Home, s.HasToken = h, hasToken })
	}
}

func (m *Model) home(id int64) (*home, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if h := m.homes[id]; h != nil {
		return h, nil
	}
	return nil, concord.Errorf(concord.CodeNotFound, "Home %d not found", id)
}

// Homes implements [concord.Live].
func (m *Model) Homes() []concord.HomeStatus {
	m.mu.RLock()
	defer m.mu.RUnlock()
	all := make([]concord.HomeStatus, 0, len(m.homes))
	for _, h := range m.homes {
		all = append(all, h.snapshot())
	}
	slices.SortFunc(all, func(a, b concord.HomeStatus) int {
		return cmp.Or(cmp.Compare(a.Sequence, b.Sequence), cmp.Compare(a.ID, b.ID))
	})
	return all
}

// Home implements [concord.Live].
func (m *Model) Home(id int64) (concord.HomeStatus, error) {
	h, err := m.home(id)
	if err != nil {
		return concord.HomeStatus{}, err
	}
	return h.snapshot(), nil
}

func (h *home) snapshot() concord.HomeStatus {
	h.mu.RLock()
	defer h.mu.RUnlock()
	s := h.status
	s.Entities, s.Areas = len(h.states), len(h.registry.Areas)
	return s
}

// Registry implements [concord.Live].
func (m *Model) Registry(id int64) (*concord.Registry, error) {
	h, err := m.home(id)
	if err != nil {
		return nil, err
	}
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.registry, nil
}

// State implements [concord.Live].
func (m *Model) State(id int64, entityID string) *concord.State {
	h, err := m.home(id)
	if err != nil {
		return nil
	}
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.states[entityID]
}

// States implements [concord.Live].
func (m *Model) States(id int64) ([]*concord.State, error) {
	h, err := m.home(id)
	if err != nil {
		return nil, err
	}
	return h.sorted(), nil
}

func (h *home) sorted() []*concord.State {
	h.mu.RLock()
	all := make([]*concord.State, 0, len(h.states))
	for _, s := range h.states {
		all = append(all, s)
	}
	h.mu.RUnlock()
	slices.SortFunc(all, func(a, b *concord.State) int { return cmp.Compare(a.EntityID, b.EntityID) })
	return all
}

// Watch implements [concord.Live].
func (m *Model) Watch(id int64, w concord.Watcher) ([]*concord.State, func(), error) {
	h, err := m.home(id)
	if err != nil {
		return nil, nil, err
	}
	h.feed.Lock()
	defer h.feed.Unlock()
	key := h.next
	h.next++
	h.watchers[key] = w
	stop := func() {
		h.feed.Lock()
		defer h.feed.Unlock()
		delete(h.watchers, key)
	}
	return h.sorted(), stop, nil
}

// Apply makes the changes, in order, and tells the watchers. The model owns
// changes from now on. An unknown home is ignored: it was removed meanwhile.
func (m *Model) Apply(id int64, changes []concord.Change) {
	h, err := m.home(id)
	if err != nil || len(changes) == 0 {
		return
	}
	h.feed.Lock()
	defer h.feed.Unlock()
	h.mu.Lock()
	for _, c := range changes {
		if c.New == nil {
			delete(h.states, c.EntityID)
		} else {
			h.states[c.EntityID] = c.New
		}
	}
	h.mu.Unlock()
	for _, w := range h.watchers {
		w.StatesChanged(changes)
	}
}

// Replace makes the states equal to those given, which the home said to be all
// it has, and tells the watchers what differs.
func (m *Model) Replace(id int64, states []*concord.State) {
	h, err := m.home(id)
	if err != nil {
		return
	}
	present := make(map[string]bool, len(states))
	var changes []concord.Change
	for _, s := range states {
		present[s.EntityID] = true
		old := m.State(id, s.EntityID)
		if old == nil || !same(old, s) {
			changes = append(changes, concord.Change{EntityID: s.EntityID, Old: old, New: s})
		}
	}
	for _, s := range h.sorted() {
		if !present[s.EntityID] {
			changes = append(changes, concord.Change{EntityID: s.EntityID, Old: s})
		}
	}
	m.Apply(id, changes)
}

func same(a, b *concord.State) bool {
	return a.State == b.State && a.LastUpdated.Equal(b.LastUpdated) && a.LastChanged.Equal(b.LastChanged) &&
		a.Context == b.Context && string(a.Attributes) == string(b.Attributes)
}

// SetRegistry replaces the registry and tells the watchers.
func (m *Model) SetRegistry(id int64, r *concord.Registry) {
	h, err := m.home(id)
	if err != nil {
		return
	}
	h.feed.Lock()
	defer h.feed.Unlock()
	h.mu.Lock()
	h.registry = r
	h.mu.Unlock()
	for _, w := range h.watchers {
		w.RegistryChanged(r)
	}
}

// UpdateStatus changes the status and tells the watchers when more than the
// times of the last message and the last synchronisation changed. Since is set
// when Link changes.
func (m *Model) UpdateStatus(id int64, change func(*concord.HomeStatus)) {
	h, err := m.home(id)
	if err != nil {
		return
	}
	h.feed.Lock()
	defer h.feed.Unlock()
	h.mu.Lock()
	old := h.status
	change(&h.status)
	if h.status.Link != old.Link {
		h.status.Since = time.Now()
	}
	now := h.status
	h.mu.Unlock()
	old.LastMessage, old.LastSync = now.LastMessage, now.LastSync
	if now == old {
		return
	}
	for _, w := range h.watchers {
		w.StatusChanged(h.snapshot())
	}
}
