package faulttest

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

func (r *Run) homeOff(ctx context.Context) error {
	return r.whileOff(ctx, func() error { return nil })
}

// stepClock sets the home's clock forward or back by up to two hours.
func (r *Run) stepClock(ctx context.Context) error {
	if err := r.caughtUp(ctx); err != nil {
		return err
	}
	r.trial.Home.StepClock(r.step())
	return pause(ctx, r.moment())
}

// mark is an entity that changes when it is asked for how far Concord is.
const mark = "sensor.mark"

// caughtUp returns when all that the home did until now is heard and written:
// of a clock that is stepped twice while nobody listens, nobody can know all.
func (r *Run) caughtUp(ctx context.Context) error {
	r.names++
	state := strconv.Itoa(r.names)
	r.trial.Home.Set(mark, state, nil)
	return r.direct(ctx, func(conn *pgx.Conn) error {
		for {
			var there bool
			err := conn.QueryRow(ctx, `select exists (select from entity_state where entity_id = $1 and state = $2)`, mark, state).Scan(&there)
			if err != nil || there {
				return err
			}
			if err := pause(ctx, 20*time.Millisecond); err != nil {
				return err
			}
		}
	})
}

func (r *Run) step() time.Duration {
	return time.Duration(r.rng.Int64N(int64(4*time.Hour))) - 2*time.Hour
}

// whileOff does something to a home that Concord does not hear.
func (r *Run) whileOff(ctx context.Context, do func() error) error {
	r.trial.HomeOff()
	return errors.Join(pause(ctx, r.moment()), do(), pause(ctx, r.moment()), r.trial.HomeOn())
}

func (r *Run) stepClockOff(ctx context.Context) error {
	if err := r.caughtUp(ctx); err != nil {
		return err
	}
	return r.whileOff(ctx, func() error { r.trial.Home.StepClock(r.step()); return nil })
}

// rename gives an entity another name.
func (r *Run) rename(context.Context) error {
	return r.renameOne(r.sensor(), r.unused())
}

func (r *Run) renameOne(from, to string) error {
	if !r.trial.Home.Rename(from, to) {
		return fmt.Errorf("%s cannot become %s", from, to)
	}
	r.ledger.renamed(from, to)
	return nil
}

func (r *Run) renameOff(ctx context.Context) error {
	return r.whileOff(ctx, func() error { return r.rename(ctx) })
}

// unused is a name that no entity has or had.
func (r *Run) unused() string {
	r.names++
	return fmt.Sprintf("sensor.renamed_%d", r.names)
}

// renameAll gives names one after the other, with changes in between: before the
// registry can be read.
func (r *Run) renameAll(names ...[2]string) error {
	for _, n := range names {
		if err := r.renameOne(n[0], n[1]); err != nil {
			return err
		}
		r.trial.Home.Emit(r.rng.IntN(300))
	}
	return nil
}

// renameTwice gives an entity another name and at once yet another one.
func (r *Run) renameTwice(context.Context) error {
	name, between, last := r.sensor(), r.unused(), r.unused()
	return r.renameAll([2]string{name, between}, [2]string{between, last})
}

// handOver gives an entity another name, and its former one to another entity.
func (r *Run) handOver(context.Context) error {
	name, heir := r.sensors()
	return r.renameAll([2]string{name, r.unused()}, [2]string{heir, name})
}

// exchange has two entities exchange their names.
func (r *Run) exchange(context.Context) error {
	a, b := r.sensors()
	between := r.unused()
	return r.renameAll([2]string{a, between}, [2]string{b, a}, [2]string{between, b})
}

func (r *Run) exchangeOff(ctx context.Context) error {
	return r.whileOff(ctx, func() error { return r.exchange(ctx) })
}

// exchangeKilled has names exchanged before, while and after Concord is killed.
func (r *Run) exchangeKilled(ctx context.Context) error {
	return errors.Join(r.exchange(ctx), r.trial.KillConcord(), r.exchange(ctx), r.trial.StartConcord(ctx), r.exchange(ctx))
}

// recreate removes an entity and adds it again, half of the times with another
// entry in the registry.
func (r *Run) recreate(ctx context.Context) error {
	id := r.sensor()
	if !r.trial.Home.Remove(id) {
		return fmt.Errorf("%s cannot be removed", id)
	}
	err := pause(ctx, r.moment())
	if !r.trial.Home.Restore(id, r.rng.IntN(2) == 0) {
		return fmt.Errorf("%s cannot be added again", id)
	}
	return err
}

func (r *Run) recreateOff(ctx context.Context) error {
	return r.whileOff(ctx, func() error { return r.recreate(ctx) })
}

// removeOff removes an entity while nobody listens, and adds it again later.
func (r *Run) removeOff(ctx context.Context) error {
	id := r.sensor()
	err := r.whileOff(ctx, func() error {
		if !r.trial.Home.Remove(id) {
			return fmt.Errorf("%s cannot be removed", id)
		}
		return nil
	})
	if err := errors.Join(err, pause(ctx, r.moment())); err != nil {
		return err
	}
	if !r.trial.Home.Restore(id, false) {
		return fmt.Errorf("%s cannot be added again", id)
	}
	return nil
}

// sensors chooses two.
func (r *Run) sensors() (string, string) {
	a, b := r.sensor(), r.sensor()
	for a == b {
		b = r.sensor()
	}
	return a, b
}

// sensor chooses one that is in the registry.
func (r *Run) sensor() string {
	var sensors []string
	for _, s := range r.trial.Home.States() {
		if strings.HasPrefix(s.EntityID, "sensor.") && s.EntityID != mark {
			sensors = append(sensors, s.EntityID)
		}
	}
	return sensors[r.rng.IntN(len(sensors))]
}
