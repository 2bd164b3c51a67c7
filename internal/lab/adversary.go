// Package lab makes the trouble that Concord is built against: others who
// write the same rows at the same time.
package lab

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Adversary updates rows of entity_state in transactions of its own at
// REPEATABLE READ, on an open loop: it does not slow down when it meets
// conflicts, and it does not try again.
type Adversary struct {
	URL         string  // of the database
	Home        int64   // whose rows
	Connections int     // at once; 0 means 4
	Rate        float64 // transactions a second over all connections; 0 means 200
	Rows        int     // per transaction, in random order; 0 means 1
}

// AdversaryName is the adversary's application_name, for the server's log.
const AdversaryName = "adversary"

// AdversaryReport says what an adversary did.
type AdversaryReport struct {
	Attempts  int64 `json:"attempts"`
	Commits   int64 `json:"commits"`
	Conflicts int64 `json:"conflicts"` // its own 40001 and 40P01
	Missed    int64 `json:"missed"`    // transactions that were due while every connection was busy
}

// Run works until ctx ends. The error is about the set-up, or an SQLSTATE that
// no conflict explains.
func (a Adversary) Run(ctx context.Context) (AdversaryReport, error) {
	if a.Connections == 0 {
		a.Connections = 4
	}
	if a.Rate == 0 {
		a.Rate = 200
	}
	if a.Rows == 0 {
		a.Rows = 1
	}
	entities, err := a.entities(ctx)
	if err != nil {
		return AdversaryReport{}, fmt.Errorf("adversary: %w", err)
	}
	var counters counters
	due := make(chan struct{}, a.Connections)
	var wg sync.WaitGroup
	errs := make(chan error, a.Connections)
	for range a.Connections {
		wg.Go(func() { errs <- a.work(ctx, entities, due, &counters) })
	}
	a.pace(ctx, due, &counters)
	wg.Wait()
	close(errs)
	for e := range errs {
		err = errors.Join(err, e)
	}
	return counters.report(), err
}

type counters struct{ attempts, commits, conflicts, missed atomic.Int64 }

func (c *counters) report() AdversaryReport {
	return AdversaryReport{Attempts: c.attempts.Load(), Commits: c.commits.Load(), Conflicts: c.conflicts.Load(), Missed: c.missed.Load()}
}

func (a Adversary) entities(ctx context.Context) ([]string, error) {
	conn, err := a.connect(ctx)
	if err != nil {
		return nil, err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	rows, err := conn.Query(ctx, `select entity_id from entity_state where home_id = $1 order by entity_id`, a.Home)
	if err != nil {
		return nil, err
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err == nil && len(ids) == 0 {
		err = fmt.Errorf("home %d has no rows", a.Home)
	}
	return ids, err
}

func (a Adversary) connect(ctx context.Context) (*pgx.Conn, error) {
	config, err := pgx.ParseConfig(a.URL)
	if err != nil {
		return nil, err
	}
	config.RuntimeParams["application_name"] = AdversaryName
	return pgx.ConnectConfig(ctx, config)
}

// pace hands out one permit per transaction that is due.
func (a Adversary) pace(ctx context.Context, due chan<- struct{}, c *counters) {
	defer close(due)
	tick := time.NewTicker(time.Duration(float64(time.Second) / a.Rate))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		select {
		case due <- struct{}{}:
		default:
			c.missed.Add(1)
		}
	}
}

func (a Adversary) work(ctx context.Context, entities []string, due <-chan struct{}, c *counters) error {
	conn, err := a.connect(ctx)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	for range due {
		if ctx.Err() != nil {
			return nil
		}
		c.attempts.Add(1)
		err := a.transaction(ctx, conn, entities)
		pgErr, _ := errors.AsType[*pgconn.PgError](err)
		switch {
		case err == nil:
			c.commits.Add(1)
		case pgErr != nil && (pgErr.Code == "40001" || pgErr.Code == "40P01"):
			c.conflicts.Add(1)
		case ctx.Err() != nil:
			return nil
		default:
			return fmt.Errorf("adversary: %w", err)
		}
	}
	return nil
}

func (a Adversary) transaction(ctx context.Context, conn *pgx.Conn, entities []string) error {
	return pgx.BeginTxFunc(ctx, conn, pgx.TxOptions{IsoLevel: pgx.RepeatableRead}, func(tx pgx.Tx) error {
		for _, i := range rand.Perm(len(entities))[:min(a.Rows, len(entities))] {
			_, err := tx.Exec(ctx, `update entity_state set state = state where home_id = $1 and entity_id = $2`, a.Home, entities[i])
			if err != nil {
				return err
			}
		}
		return nil
	})
}
