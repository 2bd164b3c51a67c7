package ledger

import (
	"context"
	"time"

	"github.com/concord-home/concord"
)

// Run saves and reads until ctx ends, and saves once more then.
func (l *Ledger) Run(ctx context.Context) {
	tick := time.NewTicker(saveEvery)
	defer tick.Stop()
	var lastRead, lastPrune time.Time
	for {
		l.step(ctx, &lastRead, &lastPrune)
		select {
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), saveTimeout)
			l.report("save the ledger", l.Save(last))
			cancel()
			return
		case <-tick.C:
		}
	}
}

func (l *Ledger) step(ctx context.Context, lastRead, lastPrune *time.Time) {
	ctx, cancel := context.WithTimeout(ctx, saveTimeout)
	defer cancel()
	err := l.Save(ctx)
	if err == nil && time.Since(*lastRead) >= readEvery {
		if err = l.Read(ctx); err == nil {
			*lastRead = time.Now()
		}
	}
	if err == nil && time.Since(*lastPrune) >= pruneEvery {
		if err = l.Store.PruneLedger(ctx, l.Now().Add(-keep)); err == nil {
			*lastPrune = time.Now()
		}
	}
	l.report("keep the ledger", err)
}

// report logs the first of failures in a row.
func (l *Ledger) report(action string, err error) {
	if err != nil && !l.failed {
		l.Logger.Warn("conflict counts wait in memory", "action", action, "error", err)
	}
	l.failed = err != nil
}

// Save adds to the database what it does not have.
func (l *Ledger) Save(ctx context.Context) error {
	l.mu.Lock()
	pending := l.unsaved
	l.unsaved = counts{}
	l.own.forgetBefore(l.Now().Add(-reach))
	l.others.forgetBefore(l.Now().Add(-reach))
	l.mu.Unlock()
	if len(pending) == 0 {
		return nil
	}
	minutes := make([]concord.LedgerMinute, 0, len(pending))
	for _, m := range pending {
		minutes = append(minutes, m)
	}
	err := l.Store.AddLedger(ctx, l.instance, minutes)
	if err == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, m := range minutes {
		l.unsaved.add(m)
	}
	l.unsaved.forgetBefore(l.Now().Add(-reach))
	return err
}

// Read takes in what other processes counted: a day at first, later what is new.
func (l *Ledger) Read(ctx context.Context) error {
	since := l.Now().Add(-reach)
	l.mu.Lock()
	if !l.latest.IsZero() {
		since = l.latest.Add(-overlap)
	}
	l.mu.Unlock()
	minutes, err := l.Store.FindLedger(ctx, since.Truncate(time.Minute), l.instance)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, m := range minutes {
		l.others[key{m.Minute.Unix(), m.Endpoint}] = m
		if m.Minute.After(l.latest) {
			l.latest = m.Minute
		}
	}
	return nil
}
