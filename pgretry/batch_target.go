package pgretry

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
)

// target is a table as a batch needs to know it.
type target struct {
	batch   *Batch
	columns []column
	key     []int // positions in columns
	faults  []fault
	tested  bool // NULL and length before the statement; not where a trigger may mend a record
	settled bool // rows stay as the statement wrote them: nothing of the table changes or locks them after it
	plain   bool // a table of its own, whose rows tell by xmax what was created; neither partitioned nor a view
	secured bool // by row security, which refuses records
	// deferred: a constraint may be tested at COMMIT.
	deferred bool
	learned  time.Time
	sql      statements
}

// renewAfter is how long what was learned of a table holds: its constraints may change.
const renewAfter = time.Minute

type column struct {
	name, quoted string
	oid          uint32 // of its base type if it is a domain
	array        uint32 // 0 where values must travel by COPY: no array stands in another, and unnest takes rows apart
	typeName     string
	enum         bool
	notNull      bool
	maxLength    int
	rounded      bool   // the column may change a value that is stored in it, or compare it in its own way
	exact        bool   // equal values have equal bytes
	collation    string // that a key must be compared with; "" for its type's
	text         bool   // its binary format is its text
	utf8         bool   // takes valid UTF-8 alone
}

// targetOn looks the table up, once per database.
func (b *Batch) targetOn(ctx context.Context, id roleID, tx pgx.Tx) (*target, error) {
	b.mu.Lock()
	t := b.tables[id]
	b.mu.Unlock()
	if t != nil && time.Since(t.learned) < renewAfter {
		return t, nil
	}
	t, err := b.describe(ctx, tx)
	if err != nil {
		return nil, fmt.Errorf("describe table: %w", err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.tables == nil {
		b.tables = map[roleID]*target{}
	}
	b.tables[id] = t
	return t, nil
}

// forget has the next Upsert look the table up again: it may have changed, and this one failed for that.
func (b *Batch) forget(id roleID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.tables, id)
}

func (b *Batch) describe(ctx context.Context, tx pgx.Tx) (*target, error) {
	t := &target{batch: b, learned: time.Now()}
	table := b.Table.Sanitize()
	rows, err := tx.Query(ctx, describeColumns, table, b.Columns, b.Key)
	if err != nil {
		return nil, err
	}
	t.columns, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (c column, err error) {
		err = row.Scan(&c.name, &c.quoted, &c.oid, &c.array, &c.typeName, &c.enum, &c.notNull, &c.maxLength, &c.rounded, &c.exact,
			&c.collation, &c.text, &c.utf8)
		return c, err
	})
	if err != nil {
		return nil, err
	}
	if err := t.match(); err != nil {
		return nil, err
	}
	if err := t.findFaults(ctx, tx, table); err != nil {
		return nil, err
	}
	t.sql = t.compose()
	return t, nil
}

// describeColumns gives the columns with their base types, through any number of domains. Of a key the type tells its precision:
// values that the column rounds to one are one key. Names are quoted always, for PL/pgSQL reserves more words than SQL.
const describeColumns = `
	select a.attname, format('"%s"', replace(a.attname, '"', '""')), e.oid, case when e.typtype <> 'c' then e.typarray else 0 end,
		case when k.rounded then format_type(e.oid, greatest(a.atttypmod, d.mod)) else format('%I.%I', n.nspname, e.typname) end,
		e.typtype = 'e', a.attnotnull,
		case when e.oid in ('varchar'::regtype, 'bpchar'::regtype) and a.atttypmod > 0 then a.atttypmod - 4 else 0 end,
		greatest(a.atttypmod, d.mod) >= 0 and e.oid <> 'varchar'::regtype or a.attcollation <> e.typcollation,
		e.typtype = 'e' or not k.rounded and coalesce(co.collisdeterministic, true)
			and e.oid = any('{bool,int2,int4,int8,oid,uuid,bytea,date,time,timestamp,timestamptz,name,text,varchar}'::regtype[]),
		case when not co.collisdeterministic then format('%I.%I', cn.nspname, co.collname) else '' end,
		e.typcategory in ('S', 'E'), e.typcategory in ('S', 'E') and current_setting('server_encoding') = 'UTF8'
	from unnest($2::text[]) with ordinality c(name, n)
	join pg_attribute a on a.attrelid = $1::text::regclass and a.attname = c.name and a.attnum > 0 and not a.attisdropped
	cross join lateral (
		with recursive b (oid, base, mod) as (
			select oid, typbasetype, typtypmod from pg_type where oid = a.atttypid
			union all
			select t.oid, t.typbasetype, t.typtypmod from b join pg_type t on t.oid = b.base)
		select max(oid::bigint) filter (where base = 0) as oid, max(mod) as mod from b) d
	join pg_type e on e.oid = d.oid::oid
	join pg_namespace n on n.oid = e.typnamespace
	cross join lateral (select a.attname = any($3) and greatest(a.atttypmod, d.mod) >= 0
		and e.oid = any('{numeric,time,timetz,timestamp,timestamptz,interval}'::regtype[]) as rounded) k
	left join pg_collation co on co.oid = a.attcollation
	left join pg_namespace cn on cn.oid = co.collnamespace
	order by c.n`

// match checks that every column was found, in order, and finds those of the key.
func (t *target) match() error {
	for i, name := range t.batch.Columns {
		if i == len(t.columns) || t.columns[i].name != name {
			return fmt.Errorf("no column %q", name)
		}
	}
	for _, name := range t.batch.Key {
		t.key = append(t.key, slices.Index(t.batch.Columns, name))
	}
	return nil
}
