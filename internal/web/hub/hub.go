package hub

import (
	"encoding/json"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/concord-home/concord"
)

// Options sets up a [Hub]; the zero value works.
type Options struct {
	Logger *slog.Logger
	// SummariesEvery is the shortest time between two events with summaries, and
	// between two rebuilds of the layout; 0 is 500 ms.
	SummariesEvery time.Duration
}

// Hub tells screens of one home what they show. Its methods are safe for
// concurrent use.
type Hub struct {
	live  concord.Live
	home  int64
	log   *slog.Logger
	every time.Duration
	inbox *inbox

	mu       sync.Mutex
	states   map[string]*concord.State
	index    *index
	status   concord.HomeStatus
	byEntity map[string][]*Feed // entities feeds with a filter
	all      map[*Feed]struct{} // entities feeds without one, and events feeds
	events   int                // of all, how many want state_changed events
	special  map[*Feed]struct{} // overview, area, registry and status feeds
	changed  map[*area]struct{} // whose summaries may differ from what was sent

	// Of the hub's goroutine alone:
	registry *concord.Registry // the newest; index may be of an older one
	layout   bool              // the index must be built anew
	built    time.Time         // when it was

	watch  func() // ends the watch
	quit   chan struct{}
	done   chan struct{}
	closed sync.Once
}

// New begins to follow a home. The error is CodeNotFound. Stop ends it.
func New(live concord.Live, home int64, o Options) (*Hub, error) {
	h := &Hub{
		live: live, home: home, log: o.Logger, every: o.SummariesEvery, inbox: newInbox(),
		byEntity: map[string][]*Feed{}, all: map[*Feed]struct{}{}, special: map[*Feed]struct{}{},
		changed: map[*area]struct{}{},
		quit:    make(chan struct{}), done: make(chan struct{}),
	}
	if h.log == nil {
		h.log = slog.New(slog.DiscardHandler)
	}
	if h.every == 0 {
		h.every = 500 * time.Millisecond
	}
	if err := h.begin(); err != nil {
		return nil, err
	}
	go h.loop()
	return h, nil
}

// begin reads the home as it stands and watches it from there.
func (h *Hub) begin() error {
	status, err := h.live.Home(h.home)
	if err != nil {
		return err
	}
	now, stop, err := h.live.Watch(h.home, h.inbox)
	if err != nil {
		return err
	}
	registry, err := h.live.Registry(h.home) // after Watch: a later one comes through the inbox
	if err != nil {
		stop()
		return err
	}
	states := make(map[string]*concord.State, len(now))
	for _, st := range now {
		states[st.EntityID] = st
	}
	index := buildIndex(registry, states)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.watch, h.states, h.index, h.status = stop, states, index, status
	h.registry, h.built, h.layout = registry, time.Now(), false
	return nil
}

// Stop ends the hub and waits for it. Feeds get nothing more. It is safe twice.
func (h *Hub) Stop() {
	h.closed.Do(func() { close(h.quit) })
	<-h.done
}

func (h *Hub) loop() {
	defer close(h.done)
	tick := time.NewTicker(h.every)
	defer tick.Stop()
	for {
		select {
		case <-h.quit:
			h.watch()
			return
		case <-h.inbox.wake:
			h.read(h.inbox.take())
		case <-tick.C:
			h.refresh()
		}
	}
}

// read takes in what came.
func (h *Hub) read(m mail) {
	if m.overflow {
		h.reread()
		return
	}
	var wake wakeList
	for _, b := range m.batches {
		h.apply(b, &wake)
	}
	if m.registry != nil {
		h.registry, h.layout = m.registry, true
		if time.Since(h.built) >= h.every {
			h.rebuild(&wake)
		}
	}
	if m.status != nil {
		h.mu.Lock()
		h.status = *m.status
		h.mark(&wake, func(f *Feed) bool { return f.kind == kindStatus })
		h.mu.Unlock()
	}
	wake.run()
}

// reread takes the home's states anew, after changes had to be dropped.
func (h *Hub) reread() {
	h.log.Warn("screens fell behind the home, states are read anew", "home", h.home)
	h.watch()
	h.inbox.take()
	if err := h.begin(); err != nil {
		h.log.Warn("home cannot be followed any more", "home", h.home, "error", err)
		h.watch = func() {}
		return
	}
	var wake wakeList
	h.mu.Lock()
	h.mark(&wake, func(*Feed) bool { return true })
	for f := range h.all {
		f.fallBehind(&wake)
	}
	for _, list := range h.byEntity {
		for _, f := range list {
			f.fallBehind(&wake)
		}
	}
	h.mu.Unlock()
	wake.run()
}

// applyAtOnce is how many changes are taken in under one hold of the lock.
const applyAtOnce = 100

// apply hands the changes of a frame to the feeds that show them. Each is
// encoded once, and not at all when no screen shows the entity.
func (h *Hub) apply(b batch, wake *wakeList) {
	for chunk := range slices.Chunk(b.changes, applyAtOnce) {
		h.mu.Lock()
		for _, c := range chunk {
			h.store(c)
			h.handOut(c, b.at, wake)
		}
		h.mu.Unlock()
	}
}

func (h *Hub) handOut(c concord.Change, at time.Time, wake *wakeList) {
	shown := h.byEntity[c.EntityID]
	if len(shown) == 0 && len(h.all) == 0 {
		return
	}
	r := encode(c, at)
	if h.events > 0 {
		r.event = encodeEvent(c)
	}
	for _, f := range shown {
		f.push(&r, wake)
	}
	for f := range h.all {
		f.push(&r, wake)
	}
}

// store keeps the state and the summary of its area.
func (h *Hub) store(c concord.Change) {
	if c.New == nil {
		delete(h.states, c.EntityID)
	} else {
		h.states[c.EntityID] = c.New
	}
	p := h.index.places[c.EntityID]
	if p == nil {
		h.layout = h.layout || c.New != nil && h.registry.Entity(c.EntityID) == nil
		return
	}
	switch {
	case c.New == nil:
		h.layout = h.layout || p.entry == nil
	case c.Old == nil || !c.Old.Available() && p.dc == "" || nameChanged(c.Old.Attributes, c.New.Attributes):
		name, dc := fullName(p.entry, c.New, c.EntityID), deviceClass(p.entry, c.New)
		h.layout = h.layout || name != p.name || dc != p.dc
	}
	if p.update(c.New) {
		h.changed[p.area] = struct{}{}
	}
}

// rebuild lays the home out anew and has every screen told. Only the hub's own
// goroutine changes states, so it can read them without the lock.
func (h *Hub) rebuild(wake *wakeList) {
	index := buildIndex(h.registry, h.states)
	h.built, h.layout = time.Now(), false
	h.mu.Lock()
	defer h.mu.Unlock()
	h.index = index
	clear(h.changed)
	h.mark(wake, func(f *Feed) bool { return f.kind != kindStatus })
}

// refresh sends the summaries that changed.
func (h *Hub) refresh() {
	var wake wakeList
	if h.layout {
		h.rebuild(&wake)
	}
	h.mu.Lock()
	for a := range h.changed {
		if rendered := a.sum.render(); string(rendered) != string(a.rendered) {
			a.rendered = rendered
			h.markSummary(a.id, &wake)
		}
	}
	clear(h.changed)
	h.mu.Unlock()
	wake.run()
}

func (h *Hub) markSummary(areaID string, wake *wakeList) {
	for f := range h.special {
		if f.kind == kindOverview && !f.full {
			f.areas[areaID] = struct{}{}
			wake.add(f)
		}
	}
}

// mark has the special feeds that match send everything again.
func (h *Hub) mark(wake *wakeList, match func(*Feed) bool) {
	for f := range h.special {
		if match(f) {
			f.full = true
			wake.add(f)
		}
	}
}

// summaryOf is an area's summary, encoded. The lock is held.
func (h *Hub) summaryOf(a *area) json.RawMessage {
	if a.rendered == nil {
		a.rendered = a.sum.render()
	}
	return a.rendered
}

// wakeList collects the feeds that have something to send, so that they are
// told after the lock is released.
type wakeList struct{ feeds []*Feed }

func (w *wakeList) add(f *Feed) {
	if !f.awake {
		f.awake = true
		w.feeds = append(w.feeds, f)
	}
}

func (w *wakeList) run() {
	for _, f := range w.feeds {
		f.wake()
	}
}
