package faulttest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// LiveRate is how many changes a second a home makes while the changes of an
// outage are written.
const LiveRate = 100

// Outage is what happened while PostgreSQL was away and after it came back.
type Outage struct {
	Result
	Heard   int           // changes into the spool while PostgreSQL was away
	Hearing time.Duration // that they took
	CatchUp time.Duration // from PostgreSQL's first answer until they were written
	Before  time.Duration // the slowest change on its way to the live model, while it was away
	During  time.Duration // and while they were written
	Marks   int           // changes that During is of
}

// Rate is how many changes a second were caught up with.
func (o *Outage) Rate() float64 { return float64(o.Heard) / o.CatchUp.Seconds() }

// Outage has PostgreSQL away for that many changes, and then compares.
func (r *Run) Outage(ctx context.Context, changes int) (*Outage, error) {
	var o Outage
	r.trial.Home.SetRate(0)
	if err := errors.Join(r.killPostgres(ctx), r.server.Stop()); err != nil {
		return nil, err
	}
	begin := time.Now()
	for o.Heard < changes {
		n := min(2000, changes-o.Heard)
		r.trial.Home.Emit(n)
		o.Heard += n
		took, err := r.awaitLive(ctx) // also keeps the home from being faster than its socket
		if err != nil {
			return nil, err
		}
		o.Before = max(o.Before, took)
	}
	o.Hearing = time.Since(begin)
	last := r.ledger.clock()
	r.trial.Home.SetRate(LiveRate)
	if err := r.startServer(ctx); err != nil {
		return nil, err
	}
	if err := r.catchUp(ctx, &o, last); err != nil {
		return nil, err
	}
	var err error
	o.Result, err = r.Settle(ctx)
	return &o, err
}

// catchUp waits until everything up to last is written, and looks meanwhile how
// long a change takes to the live model.
func (r *Run) catchUp(ctx context.Context, o *Outage, last time.Time) error {
	return r.direct(ctx, func(conn *pgx.Conn) error {
		begin := time.Now()
		for {
			var written *time.Time
			err := conn.QueryRow(ctx, `select max(clock_time) from spool_position`).Scan(&written)
			if err != nil {
				return err
			}
			if written != nil && !written.Before(last) {
				o.CatchUp = time.Since(begin)
				return nil
			}
			took, err := r.awaitLive(ctx)
			if err != nil {
				return err
			}
			o.During, o.Marks = max(o.During, took), o.Marks+1
			if err := pause(ctx, 20*time.Millisecond); err != nil {
				return err
			}
		}
	})
}

// awaitLive changes an entity and returns when Concord's live model has it, and
// with it, for it keeps the order, all that the home did before.
func (r *Run) awaitLive(ctx context.Context) (time.Duration, error) {
	r.names++
	want := fmt.Sprint(r.names)
	begin := time.Now()
	r.trial.Home.Set(mark, want, nil)
	for {
		state, err := r.trial.LiveState(mark)
		if err == nil && state == want {
			return time.Since(begin), nil
		}
		if pause(ctx, 5*time.Millisecond) != nil {
			return 0, fmt.Errorf("the live model does not follow: %q for %q: %w", state, want, err)
		}
	}
}
