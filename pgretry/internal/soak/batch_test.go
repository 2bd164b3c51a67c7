package soak_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/concord-home/concord/pgretry"
	"github.com/concord-home/concord/pgretry/internal/pgtest"
)

const batchWorkers = 5

// batches writes batches during the soak. Each record has a number of its own, under which a trigger of the table item writes
// down that it was written. The table fresh has no trigger, and so another way to tell what was created, and an array, so that its
// records travel by COPY.
type batches struct {
	soak                *soak
	last, newest, fresh *pgretry.Batch
	numbers             atomic.Int64

	mu      sync.Mutex
	reports []report
}

// report is what became of one record.
type report struct {
	batch      *pgretry.Batch
	id, number int64
	pgretry.Record
	stored bool  // a record of the same id in the same batch was stored, this one perhaps
	err    error // of the call
}

func newBatches(t *testing.T, s *soak) *batches {
	t.Helper()
	const columns = `id bigint primary key, number bigint check (number > 0), mood mood`
	pgtest.Exec(t, s.admin, `create type mood as enum ('good')`,
		`create table fresh (`+columns+`, one int[])`, `create table item (`+columns+`, one int unique)`,
		`insert into item values (0, 1, 'good', 1)`,
		`create table written (place bigint generated always as identity, id bigint, number bigint, op text)`,
		`create function write_down() returns trigger language plpgsql as $$ begin
			insert into written (id, number, op) values (new.id, new.number, tg_op); return null; end $$`,
		`create trigger write_down after insert or update on item for each row execute function write_down()`)
	batch := func(table string) *pgretry.Batch {
		return &pgretry.Batch{
			Table: pgx.Identifier{table}, Columns: []string{"id", "number", "mood", "one"}, Key: []string{"id"}, Runner: s.runner,
		}
	}
	b := &batches{soak: s, last: batch("item"), newest: batch("item"), fresh: batch("fresh")}
	b.last.Chunk, b.last.Commit = 5, 10
	b.newest.Newer = "number"
	b.numbers.Store(1000) // the ids below are those that batches share
	return b
}

func (b *batches) work(ctx context.Context) {
	for ctx.Err() == nil {
		for _, batch := range []*pgretry.Batch{b.last, b.newest, b.fresh} {
			b.upsert(batch)
		}
	}
}

// upsert writes a batch and keeps what was reported. One in ten has little time; the others outlast every fault.
func (b *batches) upsert(batch *pgretry.Batch) {
	patience := 50 * time.Second
	if rand.IntN(10) == 0 {
		patience = time.Duration(rand.IntN(30)) * time.Millisecond
		b.soak.cancelled.Add(1)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	records := b.records(batch)
	got, err := batch.Upsert(ctx, b.soak.pool, records)
	stored := map[int64]bool{}
	for i, r := range got.Records {
		if r.Outcome == pgretry.Created || r.Outcome == pgretry.Updated || r.Outcome == pgretry.Unchanged {
			stored[records[i][0].(int64)] = true
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for i, r := range got.Records {
		id := records[i][0].(int64)
		b.reports = append(b.reports, report{batch, id, records[i][1].(int64), r, stored[id], err})
	}
}

// records are 20, of which those for the table item share half of their ids with other batches, and one its id with another of
// its own. Of three batches two have a bad record: of a kind that the statement finds, or one that only the server finds.
func (b *batches) records(batch *pgretry.Batch) (records [][]any) {
	for i := range 20 {
		number := b.numbers.Add(1)
		id := number
		if batch != b.fresh && i%2 == 0 {
			id = 1 + rand.Int64N(30)
		}
		records = append(records, []any{id, number, "good", nil})
	}
	if batch == b.fresh {
		return records
	}
	records[rand.IntN(10)][0] = records[10+rand.IntN(10)][0]
	switch bad := records[rand.IntN(20)]; rand.IntN(6) {
	case 0:
		bad[1] = -bad[1].(int64)
	case 1:
		bad[2] = "odd"
	case 2:
		bad[3] = 1
	}
	return records
}

// check compares the reports with what was written.
func (b *batches) check(t *testing.T) {
	t.Helper()
	written, fresh := b.written(t), b.ids(t)
	counts := map[pgretry.RecordOutcome]int{}
	for _, r := range b.reports {
		counts[r.Outcome]++
		op := written[r.number]
		if r.batch == b.fresh {
			op = fresh[r.id]
		}
		says := fmt.Sprintf("record %d of id %d was reported %v (%v; %v), and the table says %q", r.number, r.id, r.Outcome, r.Err, r.err, op)
		require.True(t, r.agrees(op), says)
		require.True(t, r.err != nil || r.Outcome != pgretry.Unwritten, says)
		require.True(t, r.Outcome != pgretry.Unchanged || r.batch == b.newest, says)
	}
	t.Logf("records of batches: %v", counts)
	for outcome := pgretry.Created; outcome <= pgretry.Failed; outcome++ {
		require.NotZero(t, counts[outcome], outcome)
	}
	var differ int
	require.NoError(t, b.soak.admin.QueryRow(t.Context(), `select count(*) from item full join
		(select distinct on (id) id, number from written order by id, place desc) w using (id)
		where id > 0 and item.number is distinct from w.number`).Scan(&differ))
	require.Zero(t, differ, "an item is not what was written last")
}

// agrees tells that a report fits what became of its record: INSERT, UPDATE, or nothing.
func (r *report) agrees(op string) bool {
	switch r.Outcome {
	case pgretry.Created:
		return op == "INSERT"
	case pgretry.Updated:
		return op == "UPDATE"
	case pgretry.Unwritten:
		return op == "" || isUnknown(r.err)
	case pgretry.Superseded:
		return op == "" && r.stored
	}
	return op == ""
}

// written is how each number was written. None was twice.
func (b *batches) written(t *testing.T) map[int64]string {
	t.Helper()
	rows, err := b.soak.admin.Query(t.Context(), `select number, op from written`)
	require.NoError(t, err)
	ops := map[int64]string{}
	var number int64
	var op string
	_, err = pgx.ForEachRow(rows, []any{&number, &op}, func() error {
		require.Empty(t, ops[number], "record %d was written twice", number)
		ops[number] = op
		return nil
	})
	require.NoError(t, err)
	return ops
}

// ids are those of the table fresh.
func (b *batches) ids(t *testing.T) map[int64]string {
	t.Helper()
	rows, err := b.soak.admin.Query(t.Context(), `select id from fresh`)
	require.NoError(t, err)
	ids := map[int64]string{}
	var id int64
	_, err = pgx.ForEachRow(rows, []any{&id}, func() error {
		ids[id] = "INSERT"
		return nil
	})
	require.NoError(t, err)
	return ids
}
