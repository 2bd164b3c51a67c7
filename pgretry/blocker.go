package pgretry

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// Blocker is what an attempt waits for.
type Blocker struct {
	// GID names a prepared transaction; empty for a session. Nobody but COMMIT PREPARED or ROLLBACK PREPARED ends
	// one, and PostgreSQL reports no deadlock for those who wait.
	GID string
	// PID is the session's process; 0 for a prepared transaction.
	PID int32
	// Owner is the role.
	Owner string
	// Application is the session's application_name.
	Application string
	// State is the session's, such as "idle in transaction"; "prepared" for a prepared transaction.
	State string
	// Since is when it was prepared, or when the session's transaction began.
	Since time.Time
}

// String tells it in words, with its age.
func (b Blocker) String() string {
	age := time.Since(b.Since).Round(time.Second)
	if b.GID != "" {
		return fmt.Sprintf("prepared transaction %q of %s, %v old", b.GID, b.Owner, age)
	}
	return fmt.Sprintf("session %d of %s (%s, %s), in a transaction for %v", b.PID, b.Owner, b.Application, b.State, age)
}

// waitingSessions are those of some processes that wait for a lock.
const waitingSessions = `select distinct pid from pg_locks where not granted and pid = any($1)`

// waiting asks which of some processes wait for a lock, on a new connection: those asked about may hold all of a pool's.
func waiting(config *pgx.ConnConfig, pids []int32) (found []int32) {
	ctx, cancel := context.WithTimeout(context.Background(), lookupWithin)
	defer cancel()
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return nil
	}
	defer func() { _ = conn.Close(ctx) }()
	rows, _ := conn.Query(ctx, waitingSessions, pids)
	found, _ = pgx.CollectRows(rows, pgx.RowTo[int32])
	return found
}

// lookupWithin bounds a look at what blocks an attempt.
const lookupWithin = 2 * time.Second

// A prepared transaction has no process: its locks have pid NULL. One of them is that on its own transaction id, which
// leads to its name; the others share its virtual transaction.
const (
	sessionColumns  = `null, s.pid, s.usename::text, s.application_name, s.state, s.xact_start from pg_stat_activity s`
	preparedColumns = `p.gid, null, p.owner::text, null, 'prepared', p.prepared from pg_prepared_xacts p
		join pg_locks own on own.pid is null and own.locktype = 'transactionid' and own.granted and own.transactionid = p.transaction`

	blockersOfSession = `select ` + sessionColumns + ` where s.pid = any(pg_blocking_pids($1))
		union all select ` + preparedColumns + ` where exists (
			select from pg_locks w join pg_locks h on h.granted and h.pid is null
				and h.virtualtransaction = own.virtualtransaction and h.locktype = w.locktype
				and (h.database, h.relation, h.page, h.tuple, h.transactionid, h.classid, h.objid, h.objsubid)
					is not distinct from (w.database, w.relation, w.page, w.tuple, w.transactionid, w.classid, w.objid, w.objsubid)
			where w.pid = $1 and not w.granted)
		order by 6 limit 5`

	writersOfTable = `with h as (select pid, virtualtransaction from pg_locks
			where relation = to_regclass($1) and granted and mode not in ('AccessShareLock', 'SIReadLock'))
		select ` + sessionColumns + ` join h on h.pid = s.pid where s.pid <> pg_backend_pid()
		union all select ` + preparedColumns + ` join h on h.pid is null and h.virtualtransaction = own.virtualtransaction
		order by 6 limit 5`
)

// asking is a question to the server about blockers.
type asking = func(context.Context, pgx.Tx) ([]Blocker, error)

func blockers(sql string, arg any) asking {
	return func(ctx context.Context, tx pgx.Tx) ([]Blocker, error) {
		rows, err := tx.Query(ctx, sql, arg)
		if err != nil {
			return nil, err
		}
		return pgx.CollectRows(rows, scanBlocker)
	}
}

// lookup asks on another connection.
func lookup(ctx context.Context, db DB, ask asking) []Blocker {
	ctx, cancel := context.WithTimeout(ctx, lookupWithin)
	defer cancel()
	db, release, err := reconnectable(ctx, base(db))
	if err != nil {
		return nil
	}
	defer release()
	return lookupOn(ctx, db, ask)
}

// lookupOn asks on db, no connection of which is in a transaction of the call.
func lookupOn(ctx context.Context, db DB, ask asking) (found []Blocker) {
	ctx, cancel := context.WithTimeout(ctx, lookupWithin)
	defer cancel()
	_ = pgx.BeginTxFunc(ctx, db, pgx.TxOptions{AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) (err error) {
		found, err = ask(ctx, tx)
		return err
	})
	return found
}

func scanBlocker(row pgx.CollectableRow) (b Blocker, err error) {
	var gid, owner, application, state *string
	var pid *int32
	var since *time.Time
	err = row.Scan(&gid, &pid, &owner, &application, &state, &since)
	set(&b.GID, gid)
	set(&b.PID, pid)
	set(&b.Owner, owner)
	set(&b.Application, application)
	set(&b.State, state)
	set(&b.Since, since)
	return b, err
}

func set[T any](field *T, value *T) {
	if value != nil {
		*field = *value
	}
}
