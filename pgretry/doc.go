// Package pgretry runs a PostgreSQL transaction, and runs it again when that is right.
//
//	err := pgretry.Do(ctx, pool, func(ctx context.Context, tx pgx.Tx) error {
//		var balance int
//		if err := tx.QueryRow(ctx, `select balance from account where id = $1`, id).Scan(&balance); err != nil {
//			return err
//		}
//		_, err := tx.Exec(ctx, `update account set balance = $2 where id = $1`, id, balance-amount)
//		return err
//	})
//
// PostgreSQL answers a transaction that met another one with SQLSTATE 40001 or 40P01, and asks the application to run
// the whole transaction again, with the logic that decided what to write. [Do] does that: each attempt is a new
// transaction with a new snapshot, at REPEATABLE READ unless told otherwise.
//
// # What a closure may do
//
// A closure may run several times, and all but one run are undone. So it
//
//   - reads inside the transaction whatever decides what it writes: what was read before [Do] is as old as the conflict;
//   - sets the variables that it leaves behind anew in each run: append to a slice that you make inside;
//   - uses the tx and the ctx it is given, and no other connection: what that writes stays when the transaction is undone.
//     What it sends through tx.Conn() is not seen by pgretry, and must not end the transaction;
//   - sends no mail, message or request: do that after Do has returned nil, or write it to an outbox table;
//   - is quick: a slow one holds a connection and locks, and meets more conflicts;
//   - returns every error. One that it swallows leaves the transaction aborted; Do then judges by the first error of
//     the transaction, which it keeps, and not by the 25P02 that follows;
//   - reads or closes the rows that it asks for, and keeps no tx: after the closure its methods return pgx.ErrTxClosed.
//     It keeps nothing of tx.LargeObjects either, which pgretry does not see: used later, that would work in somebody
//     else's transaction;
//   - neither commits nor rolls back: tx.Commit and tx.Rollback return [ErrFinishedByClosure] and do nothing. COMMIT,
//     ROLLBACK and their like as SQL are refused with the same error, are not sent, and end the call with a rollback;
//   - calls no Do on the same database: that returns [ErrNested]. Pass tx to functions that need it.
//
// A savepoint (tx.Begin) heals an error that another statement can follow, such as 23505. It does not heal 40001: the
// snapshot stays, so that the same statement fails again. A closure that goes on without it is run again as well, for
// what that statement should have written would be missing.
//
// A closure that panics, or ends its goroutine as a test's FailNow does, is rolled back, and its panic goes on.
//
// # What is retried
//
//	40001 serialization_failure, 40P01 deadlock_detected    always
//	55P03 lock_not_available                                a few times; the error says who holds the lock
//	23505 unique_violation, 23P01 exclusion_violation       where the caller says so, a few times: [WithRetryOn]
//	25P03, 57P05, 57P01, 57P02, class 08,
//	a connection lost before COMMIT                         on a new connection
//	53300, 57P03, connection refused                        after a slow backoff
//	25006, 0A000 from BEGIN: a standby answers              after reconnecting, for the primary may have moved
//	a connection lost during COMMIT                         once it is known that nothing was committed
//
// Nothing else is, unless [WithRetryOn] names it: a statement that met its timeout or was cancelled (57014) would take as
// long again, and one that does not fit its arguments (08P01 from a statement) would not fit them then.
//
// # A lost answer to COMMIT
//
// When the connection breaks during COMMIT, the transaction may or may not be committed, and running it again could
// apply it twice. With the table of [MarkerMigration], each transaction that writes leaves a marker row, sent together
// with COMMIT; Do looks for it on another connection and returns nil, runs the closure again, or, if the server stays
// away, returns [ErrCommitUnknown]. Without the table it returns ErrCommitUnknown at once. pgx's SafeToRetry is of no
// use here: it says true for transactions that are committed.
//
// # Contention
//
// Backoff alone serves a hot row badly: the lucky run again and again, the unlucky wait seconds. So transactions that
// meet repeatedly pass a queue instead, in order of arrival, without holding a connection while they wait:
//
//   - [WithKey] names what a transaction conflicts on. Transactions of one key run one after another.
//   - Without a key, conflicts teach the [Runner] which transactions meet, by the name of the transaction and the
//     table, and how many of them may run at once. The width halves when too many attempts meet, and grows back.
//     Without [WithName] the closure's place in the program is the name. A helper that wraps Do has one closure for the
//     whole program, and so one queue: let it pass a name on. READ ONLY transactions below SERIALIZABLE meet nobody and
//     do not queue.
//   - Transactions of several names at one queue share its time by [WithWeight], so that many short readers do not
//     starve one long writer.
//   - If conflicts go on, from other processes, the queue's first takes a session advisory lock before BEGIN. Behind a
//     pooler in transaction mode, where such a lock does not hold, the queue stays within the process: [NoticePooled].
//     So it does for a DB that is no *pgxpool.Pool itself, such as a type that embeds one.
//   - When deadlocks come in numbers, the transactions of that name which wait for locks give way and run one by one.
//   - [Coalesce] turns many small writes into one transaction: group commit.
//
// # Waiting and limits
//
// Every wait ends when the context does. What goes on after it has a bound of its own: [Policy.Grace] for a rollback, for
// the answer to a COMMIT already sent, and for finding out what became of it; five seconds for giving back the lock across
// processes; two for a look at who holds a lock that was not available, and for one at who is part of a deadlock storm. The
// transaction of a [Group] goes on for as long as one of its items is waited for. [Budget] keeps a storm of retries from
// feeding itself.
//
// # Many records
//
// [Batch] upserts thousands of records in one statement and reports each bad one, without losing speed to them.
//
// # Tests
//
// Package pgretrytest forces an SQLSTATE at attempt N and lets two real transactions collide.
package pgretry
