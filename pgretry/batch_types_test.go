package pgretry_test

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/json"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/concord-home/concord/pgretry"
	"github.com/concord-home/concord/pgretry/internal/pgtest"
)

// Tables that a batch must not harm, with what it must make of records.
func TestBatchOfAllKindsOfTables(t *testing.T) {
	t.Parallel()
	type outcomes = []pgretry.RecordOutcome
	const (
		created, updated, unchanged = pgretry.Created, pgretry.Updated, pgretry.Unchanged
		superseded, failed          = pgretry.Superseded, pgretry.Failed
	)
	late := time.Date(2026, 1, 1, 0, 0, 10, 0, time.UTC)
	for _, c := range []struct {
		name    string
		prepare []string
		batch   *pgretry.Batch
		records [][]any
		want    outcomes
		look    string // one text
		found   string
	}{
		{
			"CharIsPadded", []string{`create table x (id int primary key, c char(5))`},
			&pgretry.Batch{Columns: []string{"id", "c"}, Key: []string{"id"}},
			[][]any{{1, "abc"}, {2, "hello"}, {3, "too long"}}, outcomes{created, created, failed},
			`select string_agg(c, ',' order by id) from x`, "abc,hello",
		},
		{
			"CharIsAKey", []string{`create table x (c char(3) primary key, n int)`},
			&pgretry.Batch{Columns: []string{"c", "n"}, Key: []string{"c"}},
			[][]any{{"abc", 1}, {"abd", 2}, {"ab", 3}, {"ab ", 4}}, outcomes{created, created, superseded, created},
			`select string_agg(c || n, ',' order by c) from x`, "ab4,abc1,abd2",
		},
		{
			"NullInTheKey", []string{`create table x (a text, b text, n int, unique (a, b))`, `insert into x values ('k', '', 0)`},
			&pgretry.Batch{Columns: []string{"a", "b", "n"}, Key: []string{"a", "b"}},
			[][]any{{"k", nil, 1}, {"k", "", 2}, {"k", nil, 3}}, outcomes{created, updated, created},
			`select string_agg(coalesce(b, 'null') || n, ',' order by n) from x`, "null1,2,null3",
		},
		{
			"ValuesEqualInOtherBytes", []string{`create table x (k numeric primary key, n int)`},
			&pgretry.Batch{Columns: []string{"k", "n"}, Key: []string{"k"}},
			[][]any{{numeric(100, -2), 1}, {numeric(2, 0), 7}, {numeric(10, -1), 2}}, outcomes{superseded, created, created},
			`select string_agg(k || '=' || n, ',' order by k) from x`, "1.0=2,2=7",
		},
		{
			"ACollationThatFoldsCase", []string{
				`create collation folded (provider = icu, locale = 'und-u-ks-level2', deterministic = false)`,
				`create table x (k text collate folded primary key, n int)`,
			},
			&pgretry.Batch{Columns: []string{"k", "n"}, Key: []string{"k"}},
			[][]any{{"A", 1}, {"b", 7}, {"a", 2}}, outcomes{superseded, created, created},
			`select string_agg(n::text, ',' order by n) from x`, "2,7",
		},
		{
			"TheNewestOfAKey", []string{`create table x (id int primary key, at timestamptz, n int)`, `insert into x values (2, null, 0)`},
			&pgretry.Batch{Columns: []string{"id", "at", "n"}, Key: []string{"id"}, Newer: "at"},
			[][]any{{1, late, 1}, {1, late.Add(-time.Second), 2}, {1, late, 3}, {2, late, 4}},
			outcomes{superseded, superseded, created, updated},
			`select string_agg(n::text, ',' order by id) from x`, "3,4",
		},
		{
			"ABadRecordSupersedesNothing", []string{`create table x (id int primary key, n int check (n > 0))`},
			&pgretry.Batch{Columns: []string{"id", "n"}, Key: []string{"id"}},
			[][]any{{1, 4}, {1, 5}, {1, -5}, {2, 1}}, outcomes{superseded, created, failed, created},
			`select string_agg(n::text, ',' order by id) from x`, "5,1",
		},
		{
			"ColumnsNamedAsTheLoopsVariables", []string{`create table x (c int primary key, state int, msg int unique, r int, col int, con int)`},
			&pgretry.Batch{Columns: []string{"c", "state", "msg", "r", "col", "con"}, Key: []string{"c"}},
			[][]any{{1, 1, 1, 1, 1, 1}, {2, 1, 1, 1, 1, 1}}, outcomes{created, failed},
			`select count(*)::text from x`, "1",
		},
		{
			"ColumnsNamedAsPLpgSQLsWords", []string{`create table x (by int primary key, begin int unique, if int, loop int)`},
			&pgretry.Batch{Columns: []string{"by", "begin", "if", "loop"}, Key: []string{"by"}},
			[][]any{{1, 1, 1, 1}, {2, 1, 1, 1}}, outcomes{created, failed},
			`select count(*)::text from x`, "1",
		},
		{
			"ATriggerWithStatesOfItsOwn", []string{
				`create table x (id int primary key, n int)`,
				`create function refuse() returns trigger language plpgsql as $$ begin
					assert new.n <> 2, 'two';
					if new.n = 3 then raise 'three' using errcode = '45000'; elsif new.n = 4 then raise 'four' using errcode = 'U0004'; end if;
					return new; end $$`,
				`create trigger refuse before insert on x for each row execute function refuse()`,
			},
			&pgretry.Batch{Columns: []string{"id", "n"}, Key: []string{"id"}},
			[][]any{{1, 1}, {2, 2}, {3, 3}, {4, 4}}, outcomes{created, failed, failed, failed},
			`select count(*)::text from x`, "1",
		},
		{
			"Partitioned", []string{
				`create table x (id int primary key, n int check (n < 100)) partition by range (id)`,
				`create table x1 partition of x for values from (0) to (10)`, `insert into x values (1, 0)`,
			},
			&pgretry.Batch{Columns: []string{"id", "n"}, Key: []string{"id"}},
			[][]any{{1, 1}, {2, 2}, {3, 100}, {11, 1}}, outcomes{updated, created, failed, failed},
			`select string_agg(n::text, ',' order by id) from x`, "1,2",
		},
		{
			"Arrays", []string{`create table x (id int primary key, a int[])`},
			&pgretry.Batch{Columns: []string{"id", "a"}, Key: []string{"id"}},
			[][]any{{1, []int32{1, 2}}, {2, []int32{}}, {3, nil}}, outcomes{created, created, created},
			`select string_agg(coalesce(a::text, 'null'), ' ' order by id) from x`, "{1,2} {} null",
		},
		{
			"DomainOverDomain", []string{
				`create domain small as int check (value < 10)`, `create domain smaller as small check (value < 5)`,
				`create table x (id int primary key, n smaller)`,
			},
			&pgretry.Batch{Columns: []string{"id", "n"}, Key: []string{"id"}},
			[][]any{{1, 1}, {2, 7}, {3, 11}}, outcomes{created, failed, failed},
			`select string_agg(n::text, ',' order by id) from x`, "1",
		},
		{
			"AValueThatIsRounded", []string{`create table x (id int primary key, n numeric(3,1) check (n <= 10))`},
			&pgretry.Batch{Columns: []string{"id", "n"}, Key: []string{"id"}},
			[][]any{{1, numeric(1004, -2)}, {2, numeric(1006, -2)}}, outcomes{created, failed},
			`select string_agg(n::text, ',' order by id) from x`, "10.0",
		},
		{
			"WhatCommitWouldRefuse", []string{
				`create table x (id int primary key, n int, unique (n) deferrable initially deferred)`, `insert into x values (9, 9)`,
			},
			&pgretry.Batch{Columns: []string{"id", "n"}, Key: []string{"id"}},
			[][]any{{1, 1}, {2, 9}, {3, 3}}, outcomes{created, failed, created},
			`select string_agg(n::text, ',' order by id) from x`, "1,3,9",
		},
		{
			"ChildrenBeforeParentsAndABadRecord", []string{
				`create table x (id int primary key, parent int references x deferrable initially deferred, n int unique)`, `insert into x values (9, null, 9)`,
			},
			&pgretry.Batch{Columns: []string{"id", "parent", "n"}, Key: []string{"id"}},
			[][]any{{1, 2, 1}, {2, nil, 2}, {3, nil, 9}}, outcomes{created, created, failed},
			`select string_agg(n::text, ',' order by id) from x`, "1,2,9",
		},
		{
			"AColumnNamedCreated", []string{
				`create table x (created int primary key, n int) partition by range (created)`,
				`create table x1 partition of x for values from (0) to (10)`, `insert into x values (1, 0)`,
			},
			&pgretry.Batch{Columns: []string{"created", "n"}, Key: []string{"created"}},
			[][]any{{1, 1}, {2, 2}}, outcomes{updated, created},
			`select string_agg(n::text, ',' order by created) from x`, "1,2",
		},
		{
			"TextThatIsNone", []string{`create table x (id int primary key, c text)`},
			&pgretry.Batch{Columns: []string{"id", "c"}, Key: []string{"id"}},
			[][]any{{1, "a"}, {2, "\xff"}, {3, "b\x00"}}, outcomes{created, failed, failed},
			`select string_agg(c, ',' order by id) from x`, "a",
		},
		{
			"ATimeBeyondAll", []string{`create table x (id int primary key, at timestamptz)`},
			&pgretry.Batch{Columns: []string{"id", "at"}, Key: []string{"id"}},
			[][]any{
				{1, time.Date(600_000, 1, 1, 0, 0, 0, 0, time.UTC)}, {2, late},
				{3, time.Date(-4713, 11, 24, 0, 0, 0, 0, time.UTC)}, {4, time.Date(-4713, 11, 23, 0, 0, 0, 0, time.UTC)},
			}, outcomes{failed, created, created, failed},
			`select count(*)::text from x`, "2",
		},
		{
			"AKeyThatIsUnreadableAndMustBeRanked", []string{`create type mood as enum ('good', 'bad')`, `create table x (m mood primary key, n int)`},
			&pgretry.Batch{Columns: []string{"m", "n"}, Key: []string{"m"}, Newer: "n"},
			[][]any{{"good", 3}, {"odd", 2}, {"good", 1}, {"bad", 1}}, outcomes{created, failed, superseded, created},
			`select string_agg(m || ' ' || n, ',' order by m) from x`, "good 3,bad 1",
		},
		{
			"JSONIsAKey", []string{`create table x (k jsonb primary key, n int)`},
			&pgretry.Batch{Columns: []string{"k", "n"}, Key: []string{"k"}},
			[][]any{{`{"a":1}`, 1}, {`{a`, 2}, {`{"a": 1}`, 3}}, outcomes{superseded, failed, created},
			`select string_agg(k::text || ' ' || n, ',') from x`, `{"a": 1} 3`,
		},
		{
			"AnArrayIsAKey", []string{`create table x (k text[] primary key, n int)`},
			&pgretry.Batch{Columns: []string{"k", "n"}, Key: []string{"k"}},
			[][]any{{[]string{"a"}, 1}, {[]string{"\xff"}, 2}, {[]string{"a"}, 3}, {[]string{}, 4}}, outcomes{superseded, failed, created, created},
			`select string_agg(k::text || n, ' ' order by n) from x`, "{a}3 {}4",
		},
		{
			"AnArrayTellsTheNewest", []string{`create table x (id int primary key, version int[])`},
			&pgretry.Batch{Columns: []string{"id", "version"}, Key: []string{"id"}, Newer: "version"},
			[][]any{{1, []int32{1, 9}}, {1, []int32{2}}, {1, []int32{1}}}, outcomes{superseded, created, superseded},
			`select version::text from x`, "{2}",
		},
		{
			"ValuesThatOnlyTheServerCannotRead", []string{`create table x (id int primary key, j jsonb, r int4range)`},
			&pgretry.Batch{Columns: []string{"id", "j", "r"}, Key: []string{"id"}},
			[][]any{{1, `{}`, span(1, 2)}, {2, `{`, span(1, 2)}, {3, `{}`, span(2, 1)}, {4, strings.Repeat("[", 100_000), nil}},
			outcomes{created, failed, failed, failed},
			`select string_agg(j::text || ' ' || r, ',') from x`, "{} [1,2)",
		},
		{
			"NilsOfGo", []string{`create table x (id int primary key, c text, j jsonb, n numeric)`},
			&pgretry.Batch{Columns: []string{"id", "c", "j", "n"}, Key: []string{"id"}},
			[][]any{{1, (*sql.NullString)(nil), map[string]any(nil), (*pgtype.Numeric)(nil)}, {2, []byte(nil), json.RawMessage(nil), (*big.Int)(nil)}},
			outcomes{created, created},
			`select string_agg(num_nulls(c, j, n)::text, ',') from x`, "3,3",
		},
		{
			"TextThatPgxReads", []string{`create table x (id int primary key, u uuid, n int, d date)`},
			&pgretry.Batch{Columns: []string{"id", "u", "n", "d"}, Key: []string{"id"}},
			[][]any{{"1", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "-12", "2026-01-02"}, {2, nil, "", nil}, {3, "a0", nil, nil}},
			outcomes{created, failed, failed},
			`select string_agg(concat_ws(' ', id, u, n, d), ',') from x`, "1 a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11 -12 2026-01-02",
		},
		{
			"ACheckOfTheWholeRow", []string{`create table x (id int primary key, n int, check (x is not null))`},
			&pgretry.Batch{Columns: []string{"id", "n"}, Key: []string{"id"}},
			[][]any{{1, 1}, {2, nil}}, outcomes{created, failed},
			`select string_agg(id::text, ',') from x`, "1",
		},
		{
			"ReferencesATableWithAShortName", []string{`create table s (id int primary key)`, `insert into s values (1)`, `create table x (id int primary key, s int references s)`},
			&pgretry.Batch{Columns: []string{"id", "s"}, Key: []string{"id"}},
			[][]any{{1, 1}, {2, 2}}, outcomes{created, failed},
			`select string_agg(id::text, ',') from x`, "1",
		},
		{
			"ACheckByItsCollation", []string{
				`create collation folded (provider = icu, locale = 'und-u-ks-level2', deterministic = false)`,
				`create table x (id int primary key, k text collate folded check (k in ('a', 'b')))`,
			},
			&pgretry.Batch{Columns: []string{"id", "k"}, Key: []string{"id"}},
			[][]any{{1, "A"}, {2, "b"}, {3, "c"}}, outcomes{created, created, failed},
			`select string_agg(k, ',' order by id) from x`, "A,b",
		},
		{
			"WhatCommitWouldRefuseForAnotherTable", []string{
				`create table x (id int primary key, code text unique)`, `insert into x values (1, 'a'), (2, 'b')`,
				`create table y (code text references x (code) deferrable initially deferred)`, `insert into y values ('a')`,
			},
			&pgretry.Batch{Columns: []string{"id", "code"}, Key: []string{"id"}},
			[][]any{{1, "z"}, {2, "y"}}, outcomes{failed, updated},
			`select string_agg(code, ',' order by id) from x`, "a,y",
		},
		{
			"WhatCommitWouldRefuseBelowAView", []string{
				`create table p (id int primary key)`, `insert into p values (1)`,
				`create table below (id int primary key, p int references p deferrable initially deferred)`, `create view x as select * from below`,
			},
			&pgretry.Batch{Columns: []string{"id", "p"}, Key: []string{"id"}},
			[][]any{{1, 1}, {2, 2}}, outcomes{created, failed},
			`select string_agg(id::text, ',') from x`, "1",
		},
		{
			"APartitionWhoseTriggerMends", []string{
				`create table x (id int primary key, n int not null) partition by range (id)`, `create table x1 partition of x for values from (0) to (10)`,
				`create function mend() returns trigger language plpgsql as $$ begin new.n := coalesce(new.n, 5); return new; end $$`,
				`create trigger mend before insert on x1 for each row execute function mend()`,
			},
			&pgretry.Batch{Columns: []string{"id", "n"}, Key: []string{"id"}},
			[][]any{{1, nil}}, outcomes{created},
			`select n::text from x`, "5",
		},
		{
			"BytesThatTheServerCannotRead", []string{`create table x (id int primary key, m money, n name)`},
			&pgretry.Batch{Columns: []string{"id", "m", "n"}, Key: []string{"id"}},
			[][]any{{1, []byte{1, 2, 3}, "a"}, {2, []byte{0, 0, 0, 0, 0, 0, 0, 9}, "a"}, {3, nil, strings.Repeat("a", 64)}}, outcomes{failed, created, failed},
			`select string_agg(m::numeric::text, ',') from x`, "0.09",
		},
		{
			"AKeyThatIsRounded", []string{`create table x (at timestamptz(0), n numeric(5,1), v text, primary key (at, n))`, `insert into x values ('2026-01-01 00:00:10+00', 1, '')`},
			&pgretry.Batch{Columns: []string{"at", "n", "v"}, Key: []string{"at", "n"}},
			[][]any{
				{late.Add(400 * time.Millisecond), numeric(104, -2), "first"}, {late.Add(-400 * time.Millisecond), numeric(96, -2), "last"},
				{late.Add(time.Second), numeric(1, 0), "new"}, {late, numeric(1, 9), "large"},
			},
			outcomes{superseded, updated, created, failed},
			`select string_agg(v, ',' order by at) from x`, "last,new",
		},
		{
			"ATriggerThatChangesKeys", []string{
				`create table x (k text primary key, n int)`, `insert into x values ('a', 0)`,
				`create function low() returns trigger language plpgsql as $$ begin new.k := lower(new.k); return new; end $$`,
				`create trigger low before insert on x for each row execute function low()`,
			},
			&pgretry.Batch{Columns: []string{"k", "n"}, Key: []string{"k"}},
			[][]any{{"A", 1}, {"B", 2}}, outcomes{updated, created},
			`select string_agg(k || n, ',' order by k) from x`, "a1,b2",
		},
		{
			"VarcharKeyWithBlanks", []string{`create table x (k varchar(3) primary key, n int)`, `insert into x values ('ab ', 0)`},
			&pgretry.Batch{Columns: []string{"k", "n"}, Key: []string{"k"}},
			[][]any{{"ab   ", 1}, {"ac   ", 2}}, outcomes{updated, created},
			`select string_agg(k || n, ',' order by k) from x`, "ab 1,ac 2",
		},
		{
			"TooLongForAnIndex", []string{`create table x (k text primary key)`},
			&pgretry.Batch{Columns: []string{"k"}, Key: []string{"k"}},
			[][]any{{"a"}, {incompressible(10_000)}}, outcomes{created, failed},
			`select k from x`, "a",
		},
		{
			"TextForATypeThatPgxDoesNotKnow", []string{`create table x (id int primary key, m money)`},
			&pgretry.Batch{Columns: []string{"id", "m"}, Key: []string{"id"}},
			[][]any{{1, "$1234.56"}, {2, int64(7)}, {3, nil}}, outcomes{failed, failed, created},
			`select count(*)::text from x`, "1",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			pool := pgtest.Pool(t, 2)
			pgtest.Exec(t, pool, c.prepare...)
			c.batch.Table = pgx.Identifier{"x"}
			got, err := c.batch.Upsert(t.Context(), pool, c.records)
			require.NoError(t, err)
			require.Equal(t, c.want, outcomesOf(got), "%v", got.Records)
			require.Equal(t, c.found, text(t, pool, c.look))
		})
	}
}

func numeric(digits int64, exponent int32) pgtype.Numeric {
	return pgtype.Numeric{Int: big.NewInt(digits), Exp: exponent, Valid: true}
}

func span(from, to int32) pgtype.Range[pgtype.Int4] {
	return pgtype.Range[pgtype.Int4]{
		Lower: pgtype.Int4{Int32: from, Valid: true}, LowerType: pgtype.Inclusive,
		Upper: pgtype.Int4{Int32: to, Valid: true}, UpperType: pgtype.Exclusive, Valid: true,
	}
}

func incompressible(length int) string {
	var b strings.Builder
	for i := 0; b.Len() < length; i++ {
		fmt.Fprintf(&b, "%x", sha256.Sum256([]byte{byte(i), byte(i >> 8)}))
	}
	return b.String()
}

func outcomesOf(r *pgretry.BatchResult) (all []pgretry.RecordOutcome) {
	for _, record := range r.Records {
		all = append(all, record.Outcome)
	}
	return all
}

func text(t *testing.T, pool *pgxpool.Pool, sql string) (s string) {
	t.Helper()
	require.NoError(t, pool.QueryRow(t.Context(), sql).Scan(&s))
	return s
}

// Since PostgreSQL 18 a foreign key may ask for a period within another.
func TestBatchOfPeriods(t *testing.T) {
	t.Parallel()
	pool := pgtest.Pool(t, 2)
	period, primary := `foreign key (r, d) references p (r, d)`, `primary key (r, d)`
	want := pgretry.Failed
	var version int
	require.NoError(t, pool.QueryRow(t.Context(), `select current_setting('server_version_num')::int`).Scan(&version))
	if version >= 180_000 {
		period, primary = `foreign key (r, period d) references p (r, period d)`, `primary key (r, d without overlaps)`
		want = pgretry.Created
	}
	pgtest.Exec(t, pool, `create table p (r int4range, d int4range, `+primary+`)`, `insert into p values ('[1,2)', '[1,100)')`,
		`create table x (id int primary key, r int4range, d int4range, `+period+`)`)
	batch := &pgretry.Batch{Table: pgx.Identifier{"x"}, Columns: []string{"id", "r", "d"}, Key: []string{"id"}}
	got, err := batch.Upsert(t.Context(), pool, [][]any{{1, span(1, 2), span(3, 5)}, {2, span(1, 2), span(99, 101)}})
	require.NoError(t, err)
	require.Equal(t, []pgretry.RecordOutcome{want, pgretry.Failed}, outcomesOf(got))
}

// The fields of a composite value must not be taken for columns.
func TestBatchOfCompositeValues(t *testing.T) {
	t.Parallel()
	owner := pgtest.Pool(t, 1)
	pgtest.Exec(t, owner, `create type point3 as (a int, b int, c int)`, `create table x (id int primary key, p point3)`)
	config := owner.Config()
	config.AfterConnect = func(ctx context.Context, conn *pgx.Conn) error {
		point, err := conn.LoadType(ctx, "point3")
		if err == nil {
			conn.TypeMap().RegisterType(point)
		}
		return err
	}
	pool := pgtest.Connect(t, config)
	type point3 struct{ A, B, C int32 }
	batch := &pgretry.Batch{Table: pgx.Identifier{"x"}, Columns: []string{"id", "p"}, Key: []string{"id"}}
	got, err := batch.Upsert(t.Context(), pool, [][]any{{1, point3{1, 2, 3}}})
	require.NoError(t, err)
	require.Equal(t, 1, got.Created)
	require.Equal(t, "(1,2,3)", text(t, pool, `select p::text from x`))

	type partial struct {
		A, B int32
		C    *int32
	}
	pgtest.Exec(t, pool, `create table y (p point3 primary key, n int)`)
	batch = &pgretry.Batch{Table: pgx.Identifier{"y"}, Columns: []string{"p", "n"}, Key: []string{"p"}}
	got, err = batch.Upsert(t.Context(), pool, [][]any{{partial{A: 1}, 1}, {partial{A: 1}, 2}, {nil, 3}})
	require.NoError(t, err)
	require.Equal(t, []pgretry.RecordOutcome{pgretry.Superseded, pgretry.Created, pgretry.Failed}, outcomesOf(got))
	require.Equal(t, "2", text(t, pool, `select n::text from y`))
}

func TestBatchLooksAgainAtATableThatChanged(t *testing.T) {
	t.Parallel()
	pool := pgtest.Pool(t, 2)
	pgtest.Exec(t, pool, `create table x (id int primary key, n text)`)
	batch := &pgretry.Batch{Table: pgx.Identifier{"x"}, Columns: []string{"id", "n"}, Key: []string{"id"}}
	records := [][]any{{1, "7"}}
	_, err := batch.Upsert(t.Context(), pool, records)
	require.NoError(t, err)
	pgtest.Exec(t, pool, `alter table x alter n type int using n::int`)
	_, err = batch.Upsert(t.Context(), pool, records)
	require.Equal(t, "42804", pgretry.SQLSTATE(err))
	got, err := batch.Upsert(t.Context(), pool, records)
	require.NoError(t, err)
	require.Equal(t, 1, got.Updated)
}
