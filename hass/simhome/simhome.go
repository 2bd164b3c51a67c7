// Package simhome is a simulated home that speaks Home Assistant's WebSocket
// API: a house with floors, areas, devices and entities of more than 20
// domains, that obeys service calls, follows the time of day, keeps a history
// and can be made to misbehave.
//
// It needs nothing but memory. Two homes with the same Options.Seed have the
// same house.
package simhome

import (
	"cmp"
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"github.com/concord-home/concord/hass"
	"github.com/concord-home/concord/hass/server"
)

// Options describes the house. The zero value is a family house of about 200
// entities that stands still.
type Options struct {
	Name     string // default "Concord House"
	Entities int    // how many; below the family house's own the house is cut, above it is filled up; 0 is the family house
	Areas    int    // how many areas; 0 is the family house's own
	Devices  int    // how many devices; 0 is what the entities need
	Floors   int    // how many floors; 0 is the family house's own
	Rate     float64
	// Token that clients must show; default "simhome".
	Token string
	// Seed makes the house and its noise repeatable.
	Seed int64
	// Past is how much history the house has from before it was started,
	// computed when asked for. Default 24 h; negative is none.
	Past time.Duration
	// HistoryPerEntity is how many changes are remembered; default 10,000 below
	// 1,000 entities, else fewer: about 10 million in all.
	HistoryPerEntity int
	// MaxPending messages may wait for one client; default 65,536, more than
	// Home Assistant's 4,096, so that bursts do not cut clients off.
	MaxPending int
	// Sent, when set, is told of every change in the order in which the home
	// made it, before any client can see it. It must not block or call the home.
	Sent   func(Change)
	Logger *slog.Logger
}

// Change is one change of one entity. Old is nil for a new entity, New for one
// that is gone. Both are immutable.
type Change struct {
	Old, New *hass.State
}

// Home is a simulated home. It is an http.Handler for /api/websocket and a
// little of the REST API beneath /api/. Its methods are safe for concurrent use.
type Home struct {
	opts   Options
	server *server.Server
	mux    *http.ServeMux
	gate   gate

	mu       sync.Mutex
	rng      *rand.Rand
	entities []*entity // in the order in which they were added
	byID     map[string]*entity
	removed  map[string]removed
	movers   []*entity // those that change by themselves
	next     int       // of movers
	reg      registry
	subs     []*subscription
	waiting  []held // changes held back by Reorder
	fault    faults
	clock    clock
	timers   timers
	rate     float64
	owed     float64
	started  time.Time
	downTill time.Time
	scratch  []byte
	emitted  int64
}

// New builds a home. It serves at once; Run makes it live.
func New(o Options) (*Home, error) {
	if o.Entities < 0 || o.Areas < 0 || o.Devices < 0 || o.Floors < 0 || o.Rate < 0 {
		return nil, errors.New("simhome: sizes and rate must not be negative")
	}
	if o.Entities > 1_000_000 || o.Rate > 10_000_000 {
		return nil, errors.New("simhome: that is more than a home")
	}
	o.Name = cmp.Or(o.Name, "Concord House")
	o.Token = cmp.Or(o.Token, "simhome")
	o.Past = cmp.Or(o.Past, 24*time.Hour)
	o.MaxPending = cmp.Or(o.MaxPending, 65536)
	h := &Home{
		opts: o, rate: o.Rate,
		rng:  rand.New(rand.NewPCG(uint64(o.Seed), 0x686f6d65)),
		byID: make(map[string]*entity), removed: make(map[string]removed),
	}
	h.reg.byID = make(map[string]*device)
	h.started = h.clock.now()
	build(h)
	h.opts.HistoryPerEntity = cmp.Or(o.HistoryPerEntity, min(10_000, 10_000_000/max(1, len(h.entities))))
	return h, h.serve()
}

func (h *Home) serve() (err error) {
	h.server, err = server.New(server.Options{
		Authenticate: h.authenticate,
		Commands:     h.commands(),
		Background:   map[string]bool{"history/history_during_period": true},
		Bare: map[string]bool{
			"get_states": true, "get_config": true, "get_services": true, "get_panels": true, "auth/current_user": true,
			"config/area_registry/list": true, "config/floor_registry/list": true, "config/label_registry/list": true,
			"config/device_registry/list": true, "config/entity_registry/list": true,
			"config/entity_registry/list_for_display": true,
		},
		MaxPending:     h.opts.MaxPending,
		OriginPatterns: []string{"*"},
		Logger:         h.opts.Logger,
		Gate:           h.gate.wait,
	})
	if err != nil {
		return fmt.Errorf("simhome: %w", err)
	}
	h.mux = http.NewServeMux()
	h.mux.Handle("/api/websocket", h.server)
	h.rest()
	return nil
}

// user is who all clients of the home are.
const user = "5f1d7c2ab8e04d6e9c3a41b0f2d7e865"

func (h *Home) authenticate(_ *http.Request, token string) (any, error) {
	if subtle.ConstantTimeCompare([]byte(token), []byte(h.opts.Token)) != 1 {
		return nil, errors.New("wrong token")
	}
	return user, nil
}

// ServeHTTP answers clients, unless the home is down.
func (h *Home) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if h.isDown() {
		http.Error(w, "the home is restarting", http.StatusServiceUnavailable)
		return
	}
	h.mux.ServeHTTP(w, r)
}

// Token is what clients must show.
func (h *Home) Token() string { return h.opts.Token }

// Run makes the home live until ctx ends: sensors move at the set rate, covers
// travel, timers run. Then it cuts its clients and returns ctx's error.
func (h *Home) Run(ctx context.Context) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	last := time.Now()
	for {
		select {
		case <-ctx.Done():
			h.Close()
			return ctx.Err()
		case now := <-tick.C:
			h.step(now.Sub(last))
			last = now
		}
	}
}

// Close cuts all clients. The home cannot be used afterwards.
func (h *Home) Close() { h.server.Close() }

func (h *Home) step(passed time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.runTimers()
	if h.down() {
		return
	}
	// A pause of the machine is made up for, but not more than a second of it.
	h.owed += h.rate * min(passed, time.Second).Seconds()
	n := int(h.owed)
	h.owed -= float64(n)
	h.emit(n)
}

// SetRate sets how many changes the sensors make in a second.
func (h *Home) SetRate(perSecond float64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.rate, h.owed = max(0, perSecond), 0
}

// Emit makes n changes at once, a burst, and returns when they are on their way.
func (h *Home) Emit(n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.emit(n)
}

// Emitted is the number of changes made so far.
func (h *Home) Emitted() int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.emitted
}

// Clients is the number of connected clients.
func (h *Home) Clients() int { return h.server.Sessions() }
