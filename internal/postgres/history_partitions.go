package postgres

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

const (
	defaultHistoryDays = 10
	daysAhead          = 3
	day                = 24 * time.Hour
	// lockWait bounds how long other sessions can queue behind a change of the
	// partitions. Upkeep comes again in a minute: beside somebody who reads for long
	// it gives up soon.
	lockWait  = 20 * time.Millisecond
	lockPause = 100 * time.Millisecond
	lockTries = 3
	// dayAgain is when a day's partitions that could not be made are tried again.
	dayAgain = time.Minute
)

// partitionDays remembers for which days (UTC, since 1970) there are partitions.
type partitionDays struct {
	keep int

	mu    *sync.Mutex
	known map[int64]time.Time // when to try again; zero for those that are there
}

func newPartitionDays(keep int) partitionDays {
	return partitionDays{keep: orDefault(keep, defaultHistoryDays), mu: new(sync.Mutex), known: make(map[int64]time.Time)}
}

func dayOf(t time.Time) int64 { return t.Unix() / int64(day/time.Second) }

func startOf(n int64) time.Time { return time.Unix(n*int64(day/time.Second), 0).UTC() }

// oldestDay begins the days of which raw history is kept.
func oldestDay(keep int) time.Time { return startOf(dayOf(time.Now()) - int64(keep)) }

// partitioned are the tables with a partition a day, and their time column.
var partitioned = map[string]string{"history": "last_updated", "statistics_5m": "bucket"}

// ensurePartitions makes the partitions that changes at these times need. When
// that fails, or the times are far off, their rows go to the default partition,
// so the clock of a home never hinders the writer.
func (db *DB) ensurePartitions(ctx context.Context, times []time.Time) {
	last := int64(-1)
	for _, t := range times {
		n := dayOf(t)
		if n == last {
			continue
		}
		last = n
		if db.days.wants(n) {
			if err := db.createDay(ctx, n, 1); err != nil {
				db.log.Debug("a partition is left for later", "day", startOf(n).Format(time.DateOnly), "error", err)
				continue
			}
			db.days.made(n)
		}
	}
}

// wants tells days near the present that have no partition yet, each once in a
// while.
func (d *partitionDays) wants(n int64) bool {
	now := dayOf(time.Now())
	if n < now-int64(d.keep) || n > now+daysAhead {
		return false
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	again, known := d.known[n]
	if known && (again.IsZero() || time.Now().Before(again)) {
		return false
	}
	d.known[n] = time.Now().Add(dayAgain)
	return true
}

func (d *partitionDays) made(n int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.known[n] = time.Time{}
}

// createDay makes the day's partitions, taking over what the default one holds.
func (db *DB) createDay(ctx context.Context, n int64, tries int) error {
	for table, column := range partitioned {
		err := db.withLocks(ctx, tries, func(tx pgx.Tx) error { return createPartition(ctx, tx, table, column, n) })
		if err != nil {
			return fmt.Errorf("create the partition of %s for %s: %w", table, startOf(n).Format(time.DateOnly), err)
		}
	}
	return nil
}

func partitionName(table string, n int64) string { return table + "_p" + startOf(n).Format("20060102") }

func createPartition(ctx context.Context, tx pgx.Tx, table, column string, n int64) error {
	name, from, to := partitionName(table, n), startOf(n).Format(time.RFC3339), startOf(n+1).Format(time.RFC3339)
	var exists bool
	if err := tx.QueryRow(ctx, `select to_regclass($1) is not null`, name).Scan(&exists); err != nil || exists {
		return err
	}
	for _, sql := range []string{
		`lock table ` + table + `_other in access exclusive mode`,
		`create table ` + name + ` (like ` + table + ` including all)`,
		`with moved as (delete from ` + table + `_other where ` + column + ` >= '` + from + `' and ` + column + ` < '` + to + `' returning *)
		 insert into ` + name + ` select * from moved`,
		`alter table ` + table + ` attach partition ` + name + ` for values from ('` + from + `') to ('` + to + `')`,
	} {
		if _, err := tx.Exec(ctx, sql); err != nil {
			return err
		}
	}
	return nil
}

// dropPartition asks for the partition first: whoever reads the whole table for
// long has locked it too, and then nobody comes to wait behind us at the table.
func dropPartition(ctx context.Context, tx pgx.Tx, name string) error {
	var exists bool
	if err := tx.QueryRow(ctx, `select to_regclass($1) is not null`, name).Scan(&exists); err != nil || !exists {
		return err
	}
	id := pgx.Identifier{name}.Sanitize()
	if _, err := tx.Exec(ctx, `lock table `+id+` in access exclusive mode`); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, `drop table `+id)
	return err
}

// withLocks runs fn in a transaction that gives up a lock it does not get soon,
// and tries again: whoever waits behind it waits for a moment only.
func (db *DB) withLocks(ctx context.Context, tries int, fn func(tx pgx.Tx) error) error {
	for {
		err := pgx.BeginFunc(ctx, db.pool, func(tx pgx.Tx) error {
			if _, err := tx.Exec(ctx, fmt.Sprintf("set local lock_timeout = %d", lockWait.Milliseconds())); err != nil {
				return err
			}
			return fn(tx)
		})
		tries--
		if !isLocked(err) || tries <= 0 {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(lockPause):
		}
	}
}

// isLocked tells that others held the locks for too long, or a deadlock with them.
func isLocked(err error) bool {
	pgErr, ok := errors.AsType[*pgconn.PgError](err)
	return ok && (pgErr.Code == "55P03" || pgErr.Code == "40P01")
}
