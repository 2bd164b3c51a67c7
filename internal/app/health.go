package app

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/concord-home/concord"
	"github.com/concord-home/concord/internal/bus"
	"github.com/concord-home/concord/internal/postgres"
)

// health implements [concord.Health].
type health struct {
	db      *postgres.DB
	bus     *bus.Bus
	server  *serverStats
	waiting atomic.Pointer[bus.Depth]
}

// Database implements [concord.Health].
func (h *health) Database() concord.PartStatus { return h.db.Status() }

// Spool implements [concord.Health].
func (h *health) Spool() concord.PartStatus { return h.bus.Status() }

// SpoolPending implements [concord.Health].
func (h *health) SpoolPending() int64 { return h.depth().Messages }

// Server implements [concord.Health].
func (h *health) Server() *concord.ServerStats { return h.server.latest() }

// depth is what waits in the spool, as of at most a second ago.
func (h *health) depth() bus.Depth {
	if d := h.waiting.Load(); d != nil {
		return *d
	}
	return bus.Depth{}
}

// run asks for the spool's depth every second, so that reading it is free.
func (h *health) run(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		if d, err := h.bus.Depth(ctx); err == nil { // an error shows in Spool
			h.waiting.Store(&d)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
