package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/concord-home/concord"
	"github.com/concord-home/concord/hass"
	"github.com/concord-home/concord/internal/bus"
	"github.com/concord-home/concord/internal/ingest"
	"github.com/concord-home/concord/internal/link"
	"github.com/concord-home/concord/internal/live"
	"github.com/concord-home/concord/internal/postgres"
)

// How often the lease of a home is asked for: while another has it, and after it
// was lost.
const (
	leadEvery = time.Second
	leadAgain = 250 * time.Millisecond
)

// homeRunner keeps one home: its lease, its link and its writer. The writer runs
// while the lease is held. The link begins with the first lease and goes on
// while the database is down; it ends when another Concord has the lease.
type homeRunner struct {
	id     int64
	log    *slog.Logger
	db     *postgres.DB
	bus    *bus.Bus
	live   *live.Model
	open   func() (*link.Owner, error)
	again  chan struct{}
	writer *ingest.Writer
	past   *ingest.Backfiller
	rounds *rounds

	lease   *postgres.Lease // used by one goroutine at a time
	backend int32           // of the lease that was held last
	holder  string          // who was told to have it; "" when nobody was
	linked  bool            // the link runs, and the spool begins behind what is written
	trouble string          // why the lease could not be taken the last time

	mu      sync.Mutex
	owner   *link.Owner
	standby bool // another has the lease
}

func (h *homeRunner) current() *link.Owner {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.owner
}

// standsBy tells that another Concord writes the home.
func (h *homeRunner) standsBy() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.standby
}

func (h *homeRunner) set(standby bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.standby = standby
}

// run leads whenever it can, until ctx ends.
func (h *homeRunner) run(ctx context.Context, upkeep func(context.Context)) {
	stopLink := func() {}
	for ctx.Err() == nil {
		if !h.await(ctx, func() { stopLink(); stopLink, h.linked = func() {}, false }) {
			break
		}
		if !h.lease.Resumed || !h.linked {
			stopLink() // what it heard belongs before what others wrote
			stopLink, h.linked = h.startLink(ctx), true
		}
		h.write(ctx, upkeep)
	}
	stopLink()
}

// await returns true when the lease is held, and false when ctx has ended.
// deposed is called when another has it.
func (h *homeRunner) await(ctx context.Context, deposed func()) bool {
	for h.lease == nil {
		wait := leadAgain
		if h.standsBy() {
			deposed()
			h.live.UpdateStatus(h.id, func(s *concord.HomeStatus) {
				s.Error = "Another Concord writes this home (" + h.holder + "). This one takes over when that one ends."
			})
			wait = leadEvery
		}
		select {
		case <-ctx.Done():
			return false
		case <-time.After(wait):
		}
		if err := h.tryLead(ctx); err != nil && ctx.Err() == nil && err.Error() != h.trouble {
			h.trouble = err.Error()
			h.log.Warn("the lease of the home cannot be taken, writing waits", "error", err)
		}
	}
	return true
}

// tryLead takes the lease if it is free, and else tells who has it.
func (h *homeRunner) tryLead(ctx context.Context) error {
	lease, holder, err := h.db.Lead(ctx, h.id)
	if err != nil {
		return fmt.Errorf("ask who writes the home: %w", err)
	}
	if lease == nil {
		if holder.PID != h.backend { // else the server has not noticed yet that this process left
			h.standBy(holder)
		}
		return nil
	}
	if !lease.Resumed || !h.linked {
		if err := h.takeOver(ctx); err != nil {
			lease.Release()
			return err
		}
	}
	if h.holder != "" {
		h.log.Info("no other Concord writes this home any more, this one does", "before", h.holder)
	}
	h.lease, h.backend, h.holder, h.trouble = lease, lease.Backend(), "", ""
	h.set(false)
	return nil
}

// takeOver has the spool begin behind what others wrote.
func (h *homeRunner) takeOver(ctx context.Context) error {
	written, err := h.db.SpoolPosition(ctx, h.id)
	if err != nil {
		return fmt.Errorf("read what is written: %w", err)
	}
	if err := h.bus.Advance(ctx, written); err != nil {
		return fmt.Errorf("NATS_URL: %w", err)
	}
	return nil
}

func (h *homeRunner) standBy(holder *postgres.Holder) {
	h.set(true)
	if h.holder != "" {
		return
	}
	h.holder = cmp.Or(holder.Application, "unknown")
	h.log.Warn("another Concord writes this home: this one stands by and takes over when that one ends",
		"holder", holder.Application, "client", holder.Client, "backend", holder.PID, "since", holder.Since)
}

// write writes until the lease or ctx ends.
func (h *homeRunner) write(ctx context.Context, upkeep func(context.Context)) {
	work, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { h.writer.Run(work) })
	wg.Go(func() { h.past.Run(work) })
	wg.Go(func() { upkeep(work) })
	select {
	case <-ctx.Done():
	case <-h.lease.Lost():
		h.log.Warn("the lease of the home is lost, writing waits until it is back")
	}
	cancel()
	wg.Wait()
	h.release()
}

// release gives the lease up, so that another need not wait for the server to
// notice.
func (h *homeRunner) release() {
	if h.lease != nil {
		h.lease.Release()
		h.lease = nil
	}
}

// startLink runs a link until stop is called.
func (h *homeRunner) startLink(ctx context.Context) (stop func()) {
	linked, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { h.runLink(linked) })
	return func() {
		cancel()
		wg.Wait()
		if ctx.Err() == nil {
			h.renew() // for the next time
		}
	}
}

func (h *homeRunner) runLink(ctx context.Context) {
	for ctx.Err() == nil {
		linked, unlink := context.WithCancel(ctx)
		stopped := make(chan struct{})
		go func() {
			defer close(stopped)
			if err := h.current().Run(linked); errors.Is(err, hass.ErrAuthInvalid) {
				h.log.Error("the home rejects HA_TOKEN: make a new long-lived access token in Home Assistant", "error", err)
			}
		}()
		select {
		case <-ctx.Done():
		case <-h.again:
		}
		unlink()
		<-stopped
		if ctx.Err() == nil {
			h.renew()
		}
	}
}

func (h *homeRunner) renew() {
	owner, err := h.open()
	if err != nil { // the same settings were fine at the start
		h.log.Error("the link cannot be made anew", "error", err)
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.owner = owner
}

// hearAgain connects to the homes anew, so that what they did meanwhile is asked
// of them.
func (a *App) hearAgain() {
	for id := range a.homes {
		_ = a.Reconnect(context.Background(), id) // it is there
	}
}

// standsBy tells that other Concords write all the homes.
func (a *App) standsBy() bool {
	for _, h := range a.homes {
		if !h.standsBy() {
			return false
		}
	}
	return len(a.homes) > 0
}
