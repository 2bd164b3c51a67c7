package lab

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/concord-home/concord/pgretry"
)

// Strategy is a way to live with conflicts.
type Strategy struct {
	Name  string
	About string // one line for people

	// tries and wait describe a loop around the whole transaction; wait gets the
	// number of failed tries, from 1.
	tries int
	wait  func(failed int) time.Duration

	savepoints bool // a savepoint around each write, which is tried again inside
	retry      *pgretry.Runner
	readOnly   bool // requests read; only the service writes
}

func fixed(d time.Duration) func(int) time.Duration { return func(int) time.Duration { return d } }

// Strategies returns all strategies, worst known first.
func Strategies() []Strategy {
	half := 500 * time.Millisecond
	return []Strategy{
		{Name: "none", About: "no retry", tries: 1},
		{Name: "3x0.5s", About: "three tries, 0.5 s apart (the add-on's published fix)", tries: 3, wait: fixed(half)},
		{Name: "0.5-1-2s", About: "four tries, 0.5, 1 and 2 s apart", tries: 4, wait: func(n int) time.Duration { return half << (n - 1) }},
		{Name: "savepoint", About: "a savepoint around each write, tried three times inside the transaction", tries: 1, savepoints: true},
		{Name: "odoo5", About: "five tries, a random wait of 0 to 2ⁿ s (Odoo's own)", tries: 5, wait: func(n int) time.Duration {
			return time.Duration(rand.Float64() * math.Exp2(float64(n)) * float64(time.Second))
		}},
		{Name: "pgretry", About: "the whole transaction again, with backoff and queues", retry: pgretry.New(pgretry.WithName("lab"), pgretry.WithMaxAttempts(100))},
		{Name: "one-writer", About: "requests only read; one service writes, with pgretry (what Concord does)",
			retry: pgretry.New(pgretry.WithName("lab"), pgretry.WithMaxAttempts(100)), readOnly: true},
	}
}

// request runs one dashboard request and returns how many times it was tried
// again.
func (s Strategy) request(ctx context.Context, r *run) (retries int, err error) {
	switch {
	case s.readOnly:
		return 0, pgx.BeginTxFunc(ctx, r.pool, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
			rows, err := tx.Query(ctx, `select a.id, count(*) from area a join entity e on e.area_id = a.id group by a.id order by a.id`)
			if err != nil {
				return err
			}
			_, err = pgx.CollectRows(rows, pgx.RowToMap)
			return err
		})
	case s.retry != nil:
		attempts := 0
		err := s.retry.Do(ctx, r.pool, func(ctx context.Context, tx pgx.Tx) error {
			attempts++
			return r.sync(ctx, tx, plain(tx))
		})
		return attempts - 1, err
	}
	return s.loop(ctx, r, func(tx pgx.Tx) error {
		if s.savepoints {
			return r.sync(ctx, tx, r.inSavepoint(tx))
		}
		return r.sync(ctx, tx, plain(tx))
	})
}

// event writes one state change.
func (s Strategy) event(ctx context.Context, r *run, id int, state string) error {
	write := func(ctx context.Context, tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `update entity set state = $2 where id = $1`, id, state)
		return err
	}
	if s.retry != nil {
		return s.retry.Do(ctx, r.pool, write)
	}
	_, err := s.loop(ctx, r, func(tx pgx.Tx) error { return write(ctx, tx) })
	return err
}

func (s Strategy) loop(ctx context.Context, r *run, fn func(pgx.Tx) error) (retries int, err error) {
	for {
		err = pgx.BeginTxFunc(ctx, r.pool, pgx.TxOptions{IsoLevel: pgx.RepeatableRead}, fn)
		if !isConflict(err) || retries+1 >= s.tries {
			return retries, err
		}
		retries++
		select {
		case <-ctx.Done():
			return retries, ctx.Err()
		case <-time.After(s.wait(retries)):
		}
	}
}

func isConflict(err error) bool {
	pgErr, ok := errors.AsType[*pgconn.PgError](err)
	return ok && (pgErr.Code == "40001" || pgErr.Code == "40P01")
}

func plain(tx pgx.Tx) func(context.Context, string, ...any) error {
	return func(ctx context.Context, sql string, args ...any) error {
		_, err := tx.Exec(ctx, sql, args...)
		return err
	}
}

// inSavepoint tries a write three times inside one transaction and then goes
// on without it: the snapshot stays, so the second try fails like the first.
func (r *run) inSavepoint(tx pgx.Tx) func(context.Context, string, ...any) error {
	return func(ctx context.Context, sql string, args ...any) error {
		for range 3 {
			begin := time.Now()
			err := pgx.BeginFunc(ctx, tx, func(tx pgx.Tx) error {
				r.savepointNanos.Add(int64(time.Since(begin)))
				_, err := tx.Exec(ctx, sql, args...)
				return err
			})
			r.savepoints.Add(1)
			if !isConflict(err) {
				return err
			}
		}
		return nil
	}
}
