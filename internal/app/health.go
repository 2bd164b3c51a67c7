package app

import (
	"context"
	"fmt"
	"log/slog"
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
	log     *slog.Logger
	waiting atomic.Pointer[bus.Depth]
}

// Database implements [concord.Health].
func (h *health) Database() concord.PartStatus { return h.db.Status() }

// Spool implements [concord.Health].
func (h *health) Spool() concord.PartStatus {
	status := h.bus.Status()
	if d := h.depth(); status.Up && d.Filling() {
		status.Error = fmt.Sprintf("the spool is %.0f %% full", 100*d.Full())
	}
	return status
}

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
			h.warn(h.depth(), d)
			h.waiting.Store(&d)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// warn tells once that the spool is filling up, and once that it has room.
func (h *health) warn(before, now bus.Depth) {
	switch {
	case now.Filling() && !before.Filling():
		h.log.Error("the spool is filling up: when it is full, changes are heard no more and have to be asked of the home",
			"bytes", now.Bytes, "max_bytes", now.MaxBytes, "room", now.Room, "oldest", now.Oldest)
	case before.Filling() && !now.Filling():
		h.log.Info("the spool has room again", "bytes", now.Bytes, "room", now.Room)
	}
}
