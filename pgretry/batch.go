package pgretry

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/jackc/pgx/v5"
)

// Defaults of a [Batch] field that is left zero.
const (
	// CopyFrom is the number of records of a chunk from which they travel by COPY into a temporary table.
	CopyFrom = 20_000
	// MostChunk is the largest chunk.
	MostChunk = 50_000
)

// Batch upserts many records into one table, in as few statements as possible. Records that the table refuses are
// found inside the statement and reported, and the others are written, so that a bad record costs no speed.
//
// A Batch remembers what it learns about the table; make one and use it often. It is safe for concurrent use.
type Batch struct {
	// Table is the table, with its schema if the search_path does not lead there.
	Table pgx.Identifier
	// Columns are those that a record sets, in the order of its values.
	Columns []string
	// Key are the columns that tell records apart: those of a unique index.
	Key []string
	// Newer, if set, is a column that must grow: a record that the table has with an equal or higher value stays as
	// it is and counts as [Unchanged]. NULL in the table is older than anything. Of records with the same key the
	// newest is written, else the last.
	Newer string

	// Chunk is how many records one statement takes; zero means as many as there are, [MostChunk] at most.
	Chunk int
	// Commit is how many records one transaction takes, in chunks, one chunk at least; zero means all of them. Without Chunk a
	// statement takes as many.
	Commit int
	// Runner runs the transactions; nil means the one that [Do] uses.
	Runner *Runner

	mu     sync.Mutex
	tables map[roleID]*target
}

// RecordOutcome is what became of one record.
type RecordOutcome uint8

// String gives the outcome's name, such as created.
func (o RecordOutcome) String() string {
	names := [...]string{"unwritten", "created", "updated", "unchanged", "superseded", "failed"}
	if int(o) < len(names) {
		return names[o]
	}
	return fmt.Sprintf("outcome %d", uint8(o))
}

// The outcomes of a record.
const (
	// Unwritten: its transaction failed, or was never begun.
	Unwritten RecordOutcome = iota
	Created
	Updated
	// Unchanged: the table has it with an equal or newer [Batch.Newer].
	Unchanged
	// Superseded: another record of the same batch with the same key is committed, or Unchanged: a later one or, with
	// [Batch.Newer], a newer one.
	Superseded
	// Failed: the table refuses it; see Record.Err.
	Failed
)

// Record is what became of one record.
type Record struct {
	Outcome RecordOutcome
	// Err is why a record failed; nil for the other outcomes.
	Err *RecordError
}

// RecordError is why the table refuses a record.
type RecordError struct {
	// SQLSTATE is the code with which a statement of this record alone would fail.
	SQLSTATE string
	Message  string
	// Column or Constraint is what refuses it, where that is known.
	Column, Constraint string
}

// Error gives the message and the SQLSTATE.
func (e *RecordError) Error() string { return fmt.Sprintf("%s (SQLSTATE %s)", e.Message, e.SQLSTATE) }

// BatchResult tells what became of each record.
type BatchResult struct {
	// Records has one element per record, in their order.
	Records []Record
	// The counts of outcomes.
	Created, Updated, Unchanged, Superseded, Failed, Unwritten int
}

// Upsert writes records, each of which has a value per column. It returns an error when a transaction failed as a
// whole; the result then tells which records are committed. Records that the table refuses make no error: see
// [BatchResult.Failed]. Locks are taken in the order of the keys, so that batches do not deadlock with each other.
//
// To observers each transaction is a call. A record that only the server finds costs it a failed attempt, which the policy's
// bounds do not count.
func (b *Batch) Upsert(ctx context.Context, db DB, records [][]any, opts ...Option) (*BatchResult, error) {
	run := &batchRun{
		batch: b, records: records, result: &BatchResult{Records: make([]Record, len(records))}, careful: map[int]bool{},
	}
	if err := b.validate(); err != nil {
		return run.finish(), err
	}
	runner := b.Runner
	if runner == nil {
		runner = shared
	}
	opts = append([]Option{WithName("batch " + b.Table.Sanitize())}, opts...)
	for !run.done() {
		err := runner.Do(ctx, db, func(ctx context.Context, tx pgx.Tx) error { return run.transaction(ctx, db, tx) }, opts...)
		if err != nil {
			b.forget(*identify(db))
			return run.finish(), fmt.Errorf("batch into %s: %w", b.Table.Sanitize(), err)
		}
		run.committed()
	}
	return run.finish(), nil
}

func (b *Batch) validate() error {
	switch {
	case len(b.Table) == 0 || len(b.Columns) == 0 || len(b.Key) == 0:
		return errors.New("a batch needs Table, Columns and Key")
	case b.Chunk < 0 || b.Commit < 0:
		return errors.New("a batch's Chunk and Commit must not be negative")
	case slices.Contains(b.Key, b.Newer):
		return fmt.Errorf("a batch's Newer, %q, is part of its Key: of two records with the same key none would be newer", b.Newer)
	}
	for _, key := range append([]string{b.Newer}, b.Key...) {
		if key != "" && !slices.Contains(b.Columns, key) {
			return fmt.Errorf("a batch's Key or Newer names %q, which is not among its Columns", key)
		}
	}
	return nil
}
