// Package faulttest runs a whole Concord with a simulated home and a PostgreSQL
// of its own, breaks one thing after another by a seeded schedule, and compares
// the history with everything that the home sent.
//
// Afterwards the history must hold each change exactly once, unless a gap row
// covers it.
package faulttest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"os"
	"syscall"
	"time"

	"github.com/concord-home/concord/hass/simhome"
	"github.com/concord-home/concord/internal/pgembed"
	"github.com/concord-home/concord/internal/trial"
)

// Options of a run. Binary is required.
type Options struct {
	Binary string // concord, which is killed and started again
	Seed   uint64
	Faults int
	Rate   float64 // changes a second; 0 means 200
	// Remembers is how many changes of each entity the home's own history keeps;
	// 0 is more than the run makes, so that there must be no gap.
	Remembers int
	Log       func(format string, args ...any)
}

// Run is a system under faults. Close it.
type Run struct {
	options Options
	trial   *trial.Trial
	server  *pgembed.Server
	proxy   *proxy
	ledger  *ledger
	rng     *rand.Rand
	dir     string
	// Faults counts the faults by name.
	Faults map[string]int
}

// Start starts everything and returns when the rows equal the home.
func Start(ctx context.Context, o Options) (*Run, error) {
	if o.Rate == 0 {
		o.Rate = 200
	}
	r := &Run{options: o, ledger: newLedger(), rng: rand.New(rand.NewPCG(o.Seed, 1)), Faults: make(map[string]int)}
	if err := r.start(ctx); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

func (r *Run) start(ctx context.Context) error {
	var err error
	if r.dir, err = os.MkdirTemp("", "concord-faults-"); err != nil {
		return err
	}
	if err := os.Chmod(r.dir, 0o711); err != nil { // PostgreSQL runs as another user
		return err
	}
	if r.server, err = pgembed.Start(ctx, pgembed.Options{Dir: r.dir}); err != nil {
		return err
	}
	direct, err := url.Parse(r.server.URL())
	if err != nil {
		return err
	}
	if r.proxy, err = newProxy(direct.Host); err != nil {
		return err
	}
	through := *direct
	through.Host = r.proxy.addr()
	remembers := r.options.Remembers
	if remembers == 0 {
		remembers = 1 << 20
	}
	r.trial, err = trial.Start(ctx, trial.Options{
		Binary: r.options.Binary, Env: map[string]string{"DATABASE_URL": through.String(), "DATABASE_WAIT": "60s"},
		Home: simhome.Options{Entities: 60, Seed: 1, Past: -1, HistoryPerEntity: remembers, Sent: r.ledger.sent},
	})
	if err != nil {
		return err
	}
	for _, s := range r.trial.Home.States() {
		r.ledger.had(s)
	}
	r.trial.Home.SetRate(r.options.Rate)
	return nil
}

// Close ends everything and removes the data.
func (r *Run) Close() error {
	var errs []error
	if r.trial != nil {
		errs = append(errs, r.trial.Stop())
	}
	if r.proxy != nil {
		r.proxy.close()
	}
	if r.server != nil {
		errs = append(errs, r.server.Stop())
	}
	return errors.Join(append(errs, os.RemoveAll(r.dir))...)
}

// fault breaks one thing, and mends it before it returns.
type fault struct {
	name string
	do   func(r *Run, ctx context.Context) error
}

var faults = []fault{
	{"kill concord", (*Run).killConcord},
	{"kill concord while the home is off", (*Run).killBoth},
	{"kill postgresql", (*Run).killPostgres},
	{"freeze postgresql", (*Run).freezePostgres},
	{"cut database connections", func(r *Run, _ context.Context) error { r.proxy.cutAll(); return nil }},
	{"cut a database connection after some bytes", (*Run).cutLater},
	{"slow database", (*Run).slowDatabase},
	{"cut the link", func(r *Run, _ context.Context) error { r.trial.Home.Disconnect(); return nil }},
	{"home off", (*Run).homeOff},
	{"home restarts", func(r *Run, _ context.Context) error { r.trial.Home.Restart(r.moment()); return nil }},
	{"home stalls", func(r *Run, _ context.Context) error { r.trial.Home.Stall(r.moment()); return nil }},
	{"home sends twice", func(r *Run, _ context.Context) error { r.trial.Home.Duplicate(20); return nil }},
	{"home sends out of order", func(r *Run, _ context.Context) error { r.trial.Home.Reorder(10); return nil }},
	{"burst", func(r *Run, _ context.Context) error { r.trial.Home.Emit(3000); return nil }},
}

// Break runs the schedule: each fault at least once while there are enough,
// in an order and with pauses that the seed gives.
func (r *Run) Break(ctx context.Context) error {
	var order []int
	for range r.options.Faults {
		if len(order) == 0 {
			order = r.rng.Perm(len(faults))
		}
		f := faults[order[0]]
		order = order[1:]
		r.Faults[f.name]++
		if r.options.Log != nil {
			r.options.Log("%s", f.name)
		}
		if err := f.do(r, ctx); err != nil {
			return fmt.Errorf("%s: %w", f.name, err)
		}
		if err := pause(ctx, r.moment()); err != nil {
			return err
		}
	}
	return nil
}

// moment is a time of up to 600 ms.
func (r *Run) moment() time.Duration { return time.Duration(r.rng.IntN(600)) * time.Millisecond }

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

func (r *Run) killConcord(ctx context.Context) error {
	if err := r.trial.KillConcord(); err != nil {
		return err
	}
	return r.trial.StartConcord(ctx)
}

func (r *Run) killBoth(ctx context.Context) error {
	r.trial.HomeOff()
	if err := errors.Join(r.trial.KillConcord(), pause(ctx, r.moment()), r.trial.HomeOn()); err != nil {
		return err
	}
	return r.trial.StartConcord(ctx)
}

func (r *Run) killPostgres(context.Context) error {
	return syscall.Kill(r.server.PID(), syscall.SIGKILL)
}

func (r *Run) freezePostgres(ctx context.Context) error {
	pid := r.server.PID()
	if pid == 0 { // just killed
		return nil
	}
	if err := syscall.Kill(-pid, syscall.SIGSTOP); err != nil {
		return err
	}
	return errors.Join(pause(ctx, r.moment()), syscall.Kill(-pid, syscall.SIGCONT))
}

func (r *Run) cutLater(context.Context) error {
	r.proxy.cutAfter(int64(r.rng.IntN(200_000)))
	return nil
}

func (r *Run) slowDatabase(ctx context.Context) error {
	r.proxy.delay(20 * time.Millisecond)
	err := pause(ctx, 3*r.moment())
	r.proxy.delay(0)
	return err
}

func (r *Run) homeOff(ctx context.Context) error {
	r.trial.HomeOff()
	return errors.Join(pause(ctx, r.moment()), r.trial.HomeOn())
}
