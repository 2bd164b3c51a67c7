package web_test

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/concord-home/concord"
)

// users is a UserService with a field for each method that a test may replace.
type users struct {
	userByLogin func(context.Context, string) (concord.User, error)
	userByID    func(context.Context, int64) (concord.User, error)
	createUser  func(context.Context, concord.User) (concord.User, error)
	countUsers  func(context.Context) (int, error)
}

func (u *users) UserByLogin(ctx context.Context, login string) (concord.User, error) {
	return u.userByLogin(ctx, login)
}
func (u *users) UserByID(ctx context.Context, id int64) (concord.User, error) {
	return u.userByID(ctx, id)
}
func (u *users) CreateUser(ctx context.Context, v concord.User) (concord.User, error) {
	return u.createUser(ctx, v)
}
func (u *users) UpdatePassword(context.Context, int64, string) error { return nil }
func (u *users) CountUsers(ctx context.Context) (int, error)         { return u.countUsers(ctx) }

// sessions is a SessionService in memory that can be switched off.
type sessions struct {
	mu   sync.Mutex
	rows map[[32]byte]concord.Session
	down error
}

func (s *sessions) CreateSession(_ context.Context, v concord.Session) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down == nil {
		s.rows[v.TokenHash] = v
	}
	return s.down
}

func (s *sessions) FindSessions(context.Context) ([]concord.Session, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []concord.Session
	for _, v := range s.rows {
		list = append(list, v)
	}
	return list, s.down
}

func (s *sessions) SessionByToken(_ context.Context, hash [32]byte) (concord.Session, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v, ok := s.rows[hash]
	if !ok {
		return v, concord.Errorf(concord.CodeNotFound, "no such session")
	}
	return v, s.down
}

func (s *sessions) UpdateSessionHome(_ context.Context, hash [32]byte, home int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	v := s.rows[hash]
	v.HomeID = home
	s.rows[hash] = v
	return s.down
}

func (s *sessions) DeleteSession(_ context.Context, hash [32]byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.rows, hash)
	return s.down
}

// link is a Link with a field for each method.
type link struct {
	callService func(ctx context.Context, home int64, call concord.ServiceCall) (json.RawMessage, error)
	command     func(ctx context.Context, home int64, command json.RawMessage) (json.RawMessage, error)
}

func (l *link) CallService(ctx context.Context, home int64, call concord.ServiceCall) (json.RawMessage, error) {
	return l.callService(ctx, home, call)
}

func (l *link) Command(ctx context.Context, home int64, command json.RawMessage) (json.RawMessage, error) {
	return l.command(ctx, home, command)
}

type reconciler func(ctx context.Context, home int64) ([]concord.StageCounts, error)

func (f reconciler) Reconcile(ctx context.Context, home int64) ([]concord.StageCounts, error) {
	return f(ctx, home)
}

// live is a Live of one home.
type live struct {
	mu       sync.Mutex
	status   concord.HomeStatus
	registry *concord.Registry
	states   map[string]*concord.State
	watchers map[int]concord.Watcher
	next     int
}

func (l *live) notFound(id int64) error {
	if id != l.status.ID {
		return concord.Errorf(concord.CodeNotFound, "there is no home %d", id)
	}
	return nil
}

func (l *live) Homes() []concord.HomeStatus {
	l.mu.Lock()
	defer l.mu.Unlock()
	return []concord.HomeStatus{l.status}
}

func (l *live) Home(id int64) (concord.HomeStatus, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.status, l.notFound(id)
}

func (l *live) Registry(home int64) (*concord.Registry, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.registry, l.notFound(home)
}

func (l *live) State(_ int64, entityID string) *concord.State {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.states[entityID]
}

func (l *live) States(home int64) ([]*concord.State, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.sorted(), l.notFound(home)
}

func (l *live) sorted() []*concord.State {
	var list []*concord.State
	for _, s := range l.states {
		list = append(list, s)
	}
	slices.SortFunc(list, func(a, b *concord.State) int { return strings.Compare(a.EntityID, b.EntityID) })
	return list
}

func (l *live) Watch(home int64, w concord.Watcher) ([]*concord.State, func(), error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.notFound(home); err != nil {
		return nil, nil, err
	}
	l.next++
	id := l.next
	l.watchers[id] = w
	return l.sorted(), func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.watchers, id)
	}, nil
}

// set changes the state of an entity, attributes included; nil removes it.
func (l *live) set(states ...*concord.State) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var changes []concord.Change
	for _, s := range states {
		changes = append(changes, concord.Change{EntityID: s.EntityID, Old: l.states[s.EntityID], New: s})
		l.states[s.EntityID] = s
	}
	for _, w := range l.watchers {
		w.StatesChanged(changes)
	}
}

func (l *live) remove(entityID string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change := []concord.Change{{EntityID: entityID, Old: l.states[entityID]}}
	delete(l.states, entityID)
	for _, w := range l.watchers {
		w.StatesChanged(change)
	}
}

func (l *live) setRegistry(r *concord.Registry) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.registry = r
	for _, w := range l.watchers {
		w.RegistryChanged(r)
	}
}

func (l *live) setStatus(change func(*concord.HomeStatus)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change(&l.status)
	for _, w := range l.watchers {
		w.StatusChanged(l.status)
	}
}

var noon = time.Date(2026, 11, 22, 12, 0, 0, 123456000, time.UTC)

func state(entityID, value, attributes string) *concord.State {
	return &concord.State{
		EntityID: entityID, State: value, Attributes: json.RawMessage(attributes),
		LastChanged: noon, LastUpdated: noon, Context: concord.EventContext{ID: "01M81DJWS0KQMJMJTFNWC71M59"},
	}
}

// health has a database that a test can stop.
type health struct {
	mu       sync.Mutex
	database concord.PartStatus
	stats    *concord.ServerStats
}

func (h *health) set(p concord.PartStatus) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.database = p
}

func (h *health) Database() concord.PartStatus {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.database
}

func (h *health) Spool() concord.PartStatus { return concord.PartStatus{Up: true} }
func (h *health) SpoolPending() int64       { return 0 }

func (h *health) Server() *concord.ServerStats {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.stats
}

// charts is a concord.HistoryService.
type charts struct {
	chart func(entityID string, from, to time.Time) (concord.Chart, error)
}

func (c charts) Chart(_ context.Context, _ int64, entityID string, from, to time.Time, _ int) (concord.Chart, error) {
	return c.chart(entityID, from, to)
}
