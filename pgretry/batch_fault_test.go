package pgretry_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/concord-home/concord/pgretry"
	"github.com/concord-home/concord/pgretry/internal/pgtest"
)

// What keeps a record from being read is told as the server tells it, whichever way the records travel.
func TestBatchTellsWhyTheServerCannotRead(t *testing.T) {
	t.Parallel()
	for name, size := range map[string]int{"Array": 200, "Copy": pgretry.CopyFrom} {
		for _, newer := range []string{"", "n"} {
			t.Run(name+newer, func(t *testing.T) {
				t.Parallel()
				pool := pgtest.Pool(t, 2)
				pgtest.Exec(t, pool, `create type mood as enum ('good')`, `create table x (m mood, id int, n int, primary key (m, id))`)
				batch := &pgretry.Batch{Table: pgx.Identifier{"x"}, Columns: []string{"m", "id", "n"}, Key: []string{"m", "id"}, Newer: newer}
				records := [][]any{{"good", 0, 0}} // superseded
				for i := range size {
					records = append(records, []any{"good", i, 1})
				}
				bad := []int{1 + size/7, 2 + size/7, size}
				for _, i := range bad {
					records[i][0] = fmt.Sprintf("odd %d", i)
				}
				got, err := batch.Upsert(t.Context(), pool, records)
				require.NoError(t, err)
				require.Equal(t, []int{size - len(bad), 1, len(bad)}, []int{got.Created, got.Superseded, got.Failed})
				for _, i := range bad {
					want := &pgretry.RecordError{SQLSTATE: "22P02", Message: fmt.Sprintf(`invalid input value for enum mood: "odd %d"`, i)}
					require.Equal(t, pgretry.Record{Outcome: pgretry.Failed, Err: want}, got.Records[i])
				}
				require.Equal(t, fmt.Sprint(size-len(bad)), text(t, pool, `select count(*)::text from x`))
			})
		}
	}
}

// A policy refuses records one by one, and hides rows that foreign keys refer to all the same.
func TestBatchUnderRowSecurity(t *testing.T) {
	t.Parallel()
	owner := pgtest.Pool(t, 2)
	role := fmt.Sprintf("tenant_%d", time.Now().UnixNano())
	pgtest.Exec(t, owner, `create role `+role,
		`create table room (id int primary key)`, `insert into room values (1)`,
		`create table x (id int primary key, tenant text, room int references room)`,
		`alter table x enable row level security`, `alter table room enable row level security`,
		`create policy mine on x using (tenant = 'a') with check (tenant = 'a')`,
		`grant all on x, room to `+role,
		`do $$ begin execute format('grant usage on schema %I to `+role+`', current_schema()); end $$`)
	t.Cleanup(func() {
		_, err := owner.Exec(context.Background(), `drop owned by `+role+`; drop role `+role)
		require.NoError(t, err)
	})
	config := owner.Config()
	before := config.AfterConnect
	config.AfterConnect = func(ctx context.Context, conn *pgx.Conn) error {
		if before != nil {
			if err := before(ctx, conn); err != nil {
				return err
			}
		}
		_, err := conn.Exec(ctx, `set role `+role)
		return err
	}
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	batch := &pgretry.Batch{Table: pgx.Identifier{"x"}, Columns: []string{"id", "tenant", "room"}, Key: []string{"id"}}
	got, err := batch.Upsert(t.Context(), pool, [][]any{{1, "a", 1}, {2, "b", 1}, {3, "a", 2}}, pgretry.WithoutMarker())
	require.NoError(t, err)
	require.Equal(t, []pgretry.RecordOutcome{pgretry.Created, pgretry.Failed, pgretry.Failed}, outcomesOf(got), "%v", got.Records)
	require.Equal(t, "42501", got.Records[1].Err.SQLSTATE)
	require.Equal(t, "23503", got.Records[2].Err.SQLSTATE)
}

// Since PostgreSQL 18 a constraint may be no more than a remark.
func TestConstraintThatIsNotEnforced(t *testing.T) {
	t.Parallel()
	pool := pgtest.Pool(t, 2)
	var version int
	require.NoError(t, pool.QueryRow(t.Context(), `select current_setting('server_version_num')::int`).Scan(&version))
	enforced, want := ``, pgretry.Failed
	if version >= 180_000 {
		enforced, want = `not enforced`, pgretry.Created
	}
	pgtest.Exec(t, pool, `create table x (id int primary key, n int, check (n < 10) `+enforced+`)`)
	batch := &pgretry.Batch{Table: pgx.Identifier{"x"}, Columns: []string{"id", "n"}, Key: []string{"id"}}
	got, err := batch.Upsert(t.Context(), pool, [][]any{{1, 11}})
	require.NoError(t, err)
	require.Equal(t, want, got.Records[0].Outcome)
}
