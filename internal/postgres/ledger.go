package postgres

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/concord-home/concord"
)

// AddLedger implements [concord.LedgerStore].
func (db *DB) AddLedger(ctx context.Context, instance string, minutes []concord.LedgerMinute) error {
	return db.write(ctx, "ledger", func(ctx context.Context, tx pgx.Tx) error {
		batch := &pgx.Batch{}
		for _, m := range minutes {
			var last *time.Time
			if !m.LastFailure.IsZero() {
				last = &m.LastFailure
			}
			batch.Queue(`
				insert into write_ledger as l
				       (minute, endpoint, instance, transactions, conflicted, retried, lost, retries, failures, deadlocks,
				        seconds, slowest, last_failure)
				values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
				on conflict (minute, instance, endpoint) do update
				set transactions = l.transactions + excluded.transactions, conflicted = l.conflicted + excluded.conflicted,
				    retried = l.retried + excluded.retried, lost = l.lost + excluded.lost, retries = l.retries + excluded.retries,
				    failures = l.failures + excluded.failures, deadlocks = l.deadlocks + excluded.deadlocks,
				    seconds = l.seconds + excluded.seconds, slowest = greatest(l.slowest, excluded.slowest),
				    last_failure = greatest(l.last_failure, excluded.last_failure)`,
				m.Minute, m.Endpoint, instance, m.Transactions, m.Conflicted, m.Retried, m.Lost, m.Retries, m.Failures, m.Deadlocks,
				m.Seconds, m.Slowest, last)
		}
		return tx.SendBatch(ctx, batch).Close()
	})
}

// FindLedger implements [concord.LedgerStore].
func (db *DB) FindLedger(ctx context.Context, since time.Time, exceptInstance string) ([]concord.LedgerMinute, error) {
	rows, err := db.pool.Query(ctx, `
		select minute, endpoint, sum(transactions)::bigint, sum(conflicted)::bigint, sum(retried)::bigint, sum(lost)::bigint,
		       sum(retries)::bigint, sum(failures)::bigint, sum(deadlocks)::bigint, sum(seconds), max(slowest), max(last_failure)
		from write_ledger
		where minute >= $1 and instance <> $2
		group by minute, endpoint`, since, exceptInstance)
	if err != nil {
		return nil, classify(err)
	}
	minutes, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (concord.LedgerMinute, error) {
		var m concord.LedgerMinute
		var last *time.Time
		err := row.Scan(&m.Minute, &m.Endpoint, &m.Transactions, &m.Conflicted, &m.Retried, &m.Lost, &m.Retries, &m.Failures,
			&m.Deadlocks, &m.Seconds, &m.Slowest, &last)
		if last != nil {
			m.LastFailure = *last
		}
		return m, err
	})
	if err != nil {
		return nil, classify(err)
	}
	return minutes, nil
}

// PruneLedger implements [concord.LedgerStore].
func (db *DB) PruneLedger(ctx context.Context, before time.Time) error {
	return db.write(ctx, "ledger", func(ctx context.Context, tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `
			with gone as (
				delete from write_ledger where minute < $1
				returning endpoint, transactions, conflicted, lost, failures, deadlocks
			)
			insert into write_ledger_total as t (endpoint, transactions, conflicted, lost, failures, deadlocks)
			select endpoint, sum(transactions), sum(conflicted), sum(lost), sum(failures), sum(deadlocks)
			from gone
			group by endpoint
			order by endpoint
			on conflict (endpoint) do update
			set transactions = t.transactions + excluded.transactions, conflicted = t.conflicted + excluded.conflicted,
			    lost = t.lost + excluded.lost, failures = t.failures + excluded.failures, deadlocks = t.deadlocks + excluded.deadlocks`, before)
		return err
	})
}

// OpenIncident implements [concord.IncidentStore].
func (db *DB) OpenIncident(ctx context.Context, kind string) (opened bool, err error) {
	err = db.write(ctx, "ledger", func(ctx context.Context, tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, `insert into incident (kind) values ($1) on conflict (kind) do nothing`, kind)
		opened = tag.RowsAffected() == 1
		return err
	})
	return opened, err
}

// CloseIncident implements [concord.IncidentStore].
func (db *DB) CloseIncident(ctx context.Context, kind string) (closed bool, since time.Time, err error) {
	err = db.write(ctx, "ledger", func(ctx context.Context, tx pgx.Tx) error {
		err := tx.QueryRow(ctx, `delete from incident where kind = $1 returning opened_at`, kind).Scan(&since)
		closed = err == nil
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		return err
	})
	return closed, since, err
}

// FindServerStats asks the server about itself. What the role may not see of
// other roles' sessions is not counted.
func (db *DB) FindServerStats(ctx context.Context) (concord.ServerStats, error) {
	var s concord.ServerStats
	var longest, prepared float64
	err := db.pool.QueryRow(ctx, `
		with sessions as (
			select count(*) as all,
			       count(*) filter (where state = 'active' and pid <> pg_backend_pid()) as active,
			       count(*) filter (where state like 'idle in transaction%') as idle,
			       count(*) filter (where wait_event_type = 'Lock') as blocked,
			       coalesce(extract(epoch from max(clock_timestamp() - xact_start) filter (where pid <> pg_backend_pid())), 0) as longest
			from pg_stat_activity
			where datname = current_database() and backend_type = 'client backend'
		), prepared as (
			select count(*) as all, coalesce(extract(epoch from max(clock_timestamp() - prepared)), 0) as oldest
			from pg_prepared_xacts
			where database = current_database()
		)
		select s.active, s.all, current_setting('max_connections')::bigint, s.idle, s.blocked, s.longest::float8, p.all, p.oldest::float8,
		       d.deadlocks, d.conflicts, d.xact_commit, d.xact_rollback, d.temp_files, d.temp_bytes, pg_database_size(d.datid),
		       (select count(*) from quarantine), (select count(*) from gap), (select count(*) from backfill),
		       (select coalesce(sum(changes), 0) from backfilled where created_at > now() - interval '1 day'), split_part(current_setting('server_version'), ' ', 1)
		from sessions s, prepared p, pg_stat_database d
		where d.datname = current_database()`).Scan(
		&s.ActiveConnections, &s.Connections, &s.MaxConnections, &s.IdleInTransaction, &s.Blocked, &longest, &s.Prepared, &prepared,
		&s.Deadlocks, &s.RecoveryConflicts, &s.Commits, &s.Rollbacks, &s.TempFiles, &s.TempBytes, &s.DatabaseBytes, &s.Quarantined, &s.Gaps, &s.Asking, &s.Filled, &s.Version)
	s.LongestTx = time.Duration(longest * float64(time.Second))
	s.OldestPrepared = time.Duration(prepared * float64(time.Second))
	if err != nil {
		return s, classify(err)
	}
	return s, nil
}

var (
	_ concord.LedgerStore   = (*DB)(nil)
	_ concord.IncidentStore = (*DB)(nil)
)
