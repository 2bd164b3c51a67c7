// Package faulttest runs a whole Concord with a simulated home and a PostgreSQL
// of its own, breaks one thing after another by a seeded schedule, and compares
// the history with everything that the home sent.
//
// Afterwards the history must hold each change exactly once, unless a gap row
// covers it, no gap row may be where the home forgot nothing, and the statistics
// must be those of the history.
package faulttest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"slices"
	"strings"
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
	// OwnDisk has everything on this machine's own disk, whose fsync counts, and
	// leaves out the faults of disks. Else it is in memory.
	OwnDisk bool
	Log     func(format string, args ...any)
	// Only leaves the faults whose names have one of these parts, with commas
	// between them; "" is all.
	Only string
}

// Run is a system under faults. Close it.
type Run struct {
	options Options
	trial   *trial.Trial
	server  *pgembed.Server
	proxy   *proxy
	ledger  *ledger
	rng     *rand.Rand
	disks   disks
	names   int // given to entities
	// Faults counts the faults by name.
	Faults map[string]int
	// LeftOut are the faults that this machine does not allow, with the reason.
	LeftOut []string
}

// Start starts everything and returns when the rows equal the home.
func Start(ctx context.Context, o Options) (*Run, error) {
	if o.Rate == 0 {
		o.Rate = 200
	}
	if o.Log == nil {
		o.Log = func(string, ...any) {}
	}
	r := &Run{options: o, ledger: newLedger(), rng: rand.New(rand.NewPCG(o.Seed, 1)), Faults: make(map[string]int)}
	if err := r.start(ctx); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

func (r *Run) start(ctx context.Context) error {
	var err error
	if err = r.disks.make(r.options.OwnDisk); err != nil {
		return err
	}
	if err = r.startServer(ctx); err != nil {
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
		Dir: r.disks.concord.path, Binary: r.options.Binary, Env: map[string]string{"DATABASE_URL": through.String(), "DATABASE_WAIT": "60s", "BACKFILL_PATIENCE": "30s"},
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

func (r *Run) startServer(ctx context.Context) (err error) {
	r.server, err = pgembed.Start(ctx, pgembed.Options{Dir: r.disks.database.path, Settings: r.settings()})
	return err
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
	return errors.Join(append(errs, r.disks.remove())...)
}

// Break runs the schedule: each fault at least once while there are enough,
// in an order and with pauses that the seed gives.
func (r *Run) Break(ctx context.Context) error {
	var order []int
	possible := r.possible()
	for range r.options.Faults {
		if len(order) == 0 {
			order = r.rng.Perm(len(possible))
		}
		f := possible[order[0]]
		order = order[1:]
		r.Faults[f.name]++
		r.options.Log("%s %s, the home's clock shows %s", time.Now().UTC().Format("15:04:05.000"), f.name, text(r.ledger.clock()))
		if err := f.do(r, ctx); err != nil {
			return fmt.Errorf("%s: %w", f.name, err)
		}
		if err := pause(ctx, r.moment()); err != nil {
			return err
		}
	}
	return nil
}

// wants tells whether a fault is one of those asked for.
func (o *Options) wants(f fault) bool {
	return slices.ContainsFunc(strings.Split(o.Only, ","), func(part string) bool { return strings.Contains(f.name, part) })
}

// possible are the faults that are wanted and that this machine allows.
func (r *Run) possible() []fault {
	var list []fault
	for _, f := range faults {
		switch {
		case !r.options.wants(f):
		case f.disk && r.disks.why != nil:
			r.LeftOut = append(r.LeftOut, fmt.Sprintf("%s: %v", f.name, r.disks.why))
		default:
			list = append(list, f)
		}
	}
	return list
}

// Unmet names the faults that were to be answered with an SQLSTATE, and never
// were: they broke nothing.
func (r *Run) Unmet() (names []string) {
	for _, f := range faults {
		if r.Faults[f.name] > 0 && f.met != "" && r.met(f.met) == 0 {
			names = append(names, f.name+": no "+f.met)
		}
	}
	return names
}
