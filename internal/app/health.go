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
	pending atomic.Int64
}

// Database implements [concord.Health].
func (h *health) Database() concord.PartStatus { return h.db.Status() }

// Spool implements [concord.Health].
func (h *health) Spool() concord.PartStatus { return h.bus.Status() }

// SpoolPending implements [concord.Health].
func (h *health) SpoolPending() int64 { return h.pending.Load() }

// run asks for the spool's depth every second, so that reading it is free.
func (h *health) run(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		if n, err := h.bus.Pending(ctx); err == nil { // an error shows in Spool
			h.pending.Store(n)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
