package app

import (
	"context"
	"fmt"
	"os"
	"sync"

	"github.com/concord-home/concord/internal/ledger"
	"github.com/concord-home/concord/internal/notify"
)

// openLedger begins to count write transactions.
func (a *App) openLedger(observer *retryObserver) {
	a.ledger = ledger.New(ledger.Options{
		Store: a.db, Window: a.config.HealthWindow, Degraded: a.config.HealthDegraded, Unhealthy: a.config.HealthUnhealthy,
		Minimum: a.config.HealthMinimum, Logger: a.log,
	})
	observer.ledger = a.ledger
	a.server = newServerStats(a.db.FindServerStats)
}

// openNotifier checks whom to tell.
func (a *App) openNotifier(context.Context) error {
	if len(a.config.NotifyURLs) == 0 {
		return nil
	}
	name, err := os.Hostname()
	if err != nil {
		name = a.Addr()
	}
	a.notifier, err = notify.New(notify.Options{
		URLs: a.config.NotifyURLs, Health: a.ledger.Health, Incidents: a.db, At: a.config.NotifyAt, Minimum: a.config.HealthMinimum,
		Server: name, Registerer: a.registry, Logger: a.log,
	})
	if err != nil {
		return fmt.Errorf("NOTIFY_URLS: %w", err)
	}
	return nil
}

// runWatchers runs what looks at Concord from within, until ctx ends.
func (a *App) runWatchers(ctx context.Context, wg *sync.WaitGroup) {
	wg.Go(func() { a.ledger.Run(ctx) })
	wg.Go(func() { a.server.run(ctx) })
	if a.notifier != nil {
		wg.Go(func() { a.notifier.Run(ctx) })
	}
	losses := newLinkLosses(a.registry)
	for id := range a.homes {
		stop, err := losses.follow(a.live, id)
		if err != nil {
			a.log.Error("a home's link is not counted", "home", id, "error", err)
			continue
		}
		wg.Go(func() { <-ctx.Done(); stop() })
	}
}
