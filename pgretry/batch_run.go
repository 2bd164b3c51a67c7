package pgretry

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"
)

// errCareful leaves a transaction whose chunk holds a record that only the server can find. The call then runs it again,
// whatever its policy allows, and the chunk is written with more care. Observers see it, before the server's error.
var errCareful = errors.New("the batch starts over with more care")

// batchRun is one Upsert.
type batchRun struct {
	batch   *Batch
	records [][]any
	result  *BatchResult
	target  *target
	rows    *encoded     // nil until the first transaction has encoded the records
	next    int          // the first row, in key order, that is not committed
	upto    int          // the end of the transaction that is running
	end     int          // of the rows in order; those behind it, which a refused record gave back, have an order of their own
	careful map[int]bool // the chunks, by their first row, that the server writes record by record
	caution int          // how many chunks were found to need that the last time
	staged  bool         // a record that the server cannot read kept it from ranking them: they are ranked from a table
	blame   bool         // a constraint that COMMIT tests refused something: each statement tests it from now on
	pending []written    // by the running transaction, not yet committed
}

// written is the outcome of one row of the running transaction.
type written struct {
	record int
	Record
}

func (r *batchRun) done() bool {
	return len(r.records) == 0 || r.rows != nil && r.next >= len(r.rows.order)
}

// transaction writes the rows from next to the end of the transaction. It may run again.
func (r *batchRun) transaction(ctx context.Context, db DB, tx pgx.Tx) error {
	if err := r.prepare(ctx, db, tx); err != nil {
		return err
	}
	r.pending = r.pending[:0]
	if r.next == r.end {
		r.end = len(r.rows.order)
	}
	r.upto = r.end
	if r.batch.Commit > 0 {
		r.upto = min(r.upto, r.next+max(r.batch.Commit, r.chunk()))
	}
	if r.blame { // to find whose fault it is
		if _, err := tx.Exec(ctx, `set constraints all immediate`); err != nil {
			return err
		}
	}
	for from := r.next; from < r.upto; from += r.chunk() {
		rows := r.rows.order[from:min(from+r.chunk(), r.upto)]
		if err := r.write(ctx, tx, from, rows); err != nil {
			return err
		}
	}
	return r.testDeferred(ctx, tx)
}

// testDeferred tests at the end of a transaction what COMMIT would test, which could not tell whose fault it is.
func (r *batchRun) testDeferred(ctx context.Context, tx pgx.Tx) error {
	if !r.target.deferred {
		return nil
	}
	_, err := tx.Exec(ctx, `set constraints all immediate`)
	if r.blame || !r.target.refuses(err) {
		return err
	}
	r.blame = true
	for from := r.next; from < r.upto; from += r.chunk() {
		r.careful[from] = true
	}
	return fmt.Errorf("%w: %w", errCareful, err)
}

func (r *batchRun) chunk() int {
	switch {
	case r.batch.Chunk > 0:
		return r.batch.Chunk
	case r.batch.Commit > 0:
		return min(r.batch.Commit, MostChunk)
	}
	return min(max(1, len(r.rows.order)), MostChunk)
}

// prepare learns the table and encodes the records, once.
func (r *batchRun) prepare(ctx context.Context, db DB, tx pgx.Tx) (err error) {
	if r.target == nil {
		if r.target, err = r.batch.targetOn(ctx, *identify(db), tx); err != nil {
			return err
		}
	}
	if r.rows != nil {
		return nil
	}
	rows, err := r.target.encode(tx.Conn().TypeMap(), r.records, r.result.Records)
	if err != nil {
		return err
	}
	err = r.target.rank(ctx, tx, rows, r.staged, r.result.Records)
	switch {
	case err == nil:
		r.rows = rows
	case !r.staged && refusesRecord(err):
		r.staged = true
		return fmt.Errorf("%w: %w", errCareful, err)
	}
	return err
}

func (r *batchRun) write(ctx context.Context, tx pgx.Tx, from int, rows []int) error {
	write := r.target.set
	// A key with NULL finds no row again, to tell what became of it.
	if r.careful[from] || slices.ContainsFunc(rows, func(i int) bool { return r.rows.keys[i] == nil }) {
		write = r.target.loop
	}
	outcomes, err := write(ctx, tx, r.rows, rows)
	if (err == errUntold || r.target.refuses(err)) && !r.careful[from] {
		r.beCareful(from)
		return fmt.Errorf("%w: %w", errCareful, err)
	}
	r.pending = append(r.pending, outcomes...)
	return err
}

// beCareful has the transaction, which starts over, write a chunk record by record, and those behind it, twice as many as
// the last time: else it would start over for each of many.
func (r *batchRun) beCareful(from int) {
	r.caution = max(1, 2*r.caution)
	for range r.caution {
		r.careful[from] = true
		from += r.chunk()
	}
}

// committed takes over the outcomes of the transaction. A record supersedes those before it only now; if it was refused, the
// one before it is to be written instead.
func (r *batchRun) committed() {
	for _, w := range r.pending {
		r.result.Records[w.record] = w.Record
		before, ok := r.rows.before[w.record]
		switch {
		case !ok:
		case w.Outcome == Failed:
			r.rows.order = append(r.rows.order, before)
		default:
			r.supersede(before)
		}
	}
	r.next, r.caution = r.upto, 0
	clear(r.careful)
}

func (r *batchRun) supersede(record int) {
	for ok := true; ok; record, ok = r.rows.before[record] {
		r.result.Records[record].Outcome = Superseded
	}
}

func (r *batchRun) finish() *BatchResult {
	for _, rec := range r.result.Records {
		switch rec.Outcome {
		case Created:
			r.result.Created++
		case Updated:
			r.result.Updated++
		case Unchanged:
			r.result.Unchanged++
		case Superseded:
			r.result.Superseded++
		case Failed:
			r.result.Failed++
		default:
			r.result.Unwritten++
		}
	}
	return r.result
}
