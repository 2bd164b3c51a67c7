package pgretry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// fault is a reason to refuse a record that the statement itself can test.
type fault struct {
	test    string   // SQL over the columns; true refuses
	columns []string // that the test reads
	err     RecordError
}

// findFaults collects the tests for CHECK constraints and foreign keys, and whether NULL and length are tested here. A
// table with BEFORE ROW triggers gets none: a trigger may mend what would be refused here.
func (t *target) findFaults(ctx context.Context, tx pgx.Tx, table string) error {
	var triggers bool
	// tgtype: 1 is ROW, 2 is BEFORE, 4 INSERT, 16 UPDATE. A foreign key to the table itself locks rows of it.
	err := tx.QueryRow(ctx, `select exists (select from pg_trigger
			where (tgrelid = $1::text::regclass or tgrelid in (select relid from pg_partition_tree($1::text::regclass)))
			and not tgisinternal and tgtype & 3 = 3 and tgtype & 20 <> 0),
		relkind = 'r' and not exists (select from pg_trigger where tgrelid = $1::text::regclass and not tgisinternal)
			and not exists (select from pg_constraint where contype = 'f' and conrelid = $1::text::regclass and confrelid = conrelid),
		relkind = 'r', relrowsecurity,
		relkind = 'v' or exists (select from pg_constraint where $1::text::regclass in (conrelid, confrelid) and condeferred)
		from pg_class where oid = $1::text::regclass`, table).Scan(&triggers, &t.settled, &t.plain, &t.secured, &t.deferred)
	if err != nil || triggers {
		return err
	}
	t.tested = true
	rows, err := tx.Query(ctx, constraintTests, table, t.batch.Columns)
	if err != nil {
		return err
	}
	t.faults, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (f fault, err error) {
		err = row.Scan(&f.test, &f.columns, &f.err.SQLSTATE, &f.err.Constraint, &f.err.Message)
		return f, err
	})
	t.faults = slices.DeleteFunc(t.faults, t.readsRounded)
	return err
}

// readsRounded tells a test of a value that the column may change or compare otherwise: 10.04 passes `n <= 10` in a
// numeric(3,1), and A passes `k = 'a'` where the collation ignores case.
func (t *target) readsRounded(f fault) bool {
	return slices.ContainsFunc(t.columns, func(c column) bool { return c.rounded && slices.Contains(f.columns, c.name) })
}

// enforced is true of every constraint before PostgreSQL 18.
const enforced = `coalesce((to_jsonb(pg_constraint) ->> 'conenforced')::bool, true)`

// timeless is false of a foreign key for a period, which PostgreSQL 18 has.
const timeless = `not coalesce((to_jsonb(pg_constraint) ->> 'conperiod')::bool, false)`

// constraintTests gives a test per CHECK constraint over the given columns alone, and per simple foreign key to another
// table that this role may read. The others are left to the server.
const constraintTests = `
	select format('not coalesce((%s), true)', pg_get_expr(conbin, conrelid)),
		(select array_agg(a.attname::text) from pg_attribute a where a.attrelid = conrelid and a.attnum = any(conkey)), '23514', conname::text,
		format('violates check constraint "%s"', conname)
	from pg_constraint
	where conrelid = $1::text::regclass and contype = 'c' and conkey is not null and 0 <> all(conkey) and ` + enforced + `
		and not exists (select from pg_attribute where attrelid = conrelid and attnum = any(conkey) and attname <> all($2::text[]))
	union all
	select format('not (%s) and not exists (select from %s pgretry_r where %s)',
			(select string_agg(format('i.%I is null', a.attname), ' or ') from pg_attribute a
				where a.attrelid = conrelid and a.attnum = any(conkey)),
			confrelid::regclass,
			(select string_agg(format('pgretry_r.%I = i.%I', r.attname, a.attname), ' and ')
				from unnest(conkey, confkey) k(mine, theirs)
				join pg_attribute a on a.attrelid = conrelid and a.attnum = mine
				join pg_attribute r on r.attrelid = confrelid and r.attnum = theirs)),
		(select array_agg(a.attname::text) from pg_attribute a where a.attrelid = conrelid and a.attnum = any(conkey)), '23503', conname::text,
		format('violates foreign key constraint "%s"', conname)
	from pg_constraint
	where conrelid = $1::text::regclass and contype = 'f' and confmatchtype = 's' and not condeferrable and ` + timeless + `
		and confrelid <> conrelid and has_table_privilege(confrelid, 'select') and not row_security_active(confrelid) and ` + enforced + `
		and not exists (select from pg_attribute where attrelid = conrelid and attnum = any(conkey) and attname <> all($2::text[]))`

// unreadable tells why the server cannot read a value, which would fail all of its statement; nil if it can.
func (c *column) unreadable(value []byte, null bool) *RecordError {
	if null || !c.utf8 || utf8.Valid(value) && bytes.IndexByte(value, 0) < 0 {
		return nil
	}
	return &RecordError{SQLSTATE: "22021", Column: c.name, Message: fmt.Sprintf("column %q takes valid UTF-8 without a zero byte", c.name)}
}

// fault tells why the column refuses a value; nil if it does not.
func (c *column) fault(value []byte, null bool) *RecordError {
	switch {
	case null && c.notNull:
		return &RecordError{SQLSTATE: "23502", Column: c.name, Message: fmt.Sprintf("column %q must not be null", c.name)}
	case c.maxLength > 0 && utf8.RuneCount(bytes.TrimRight(value, " ")) > c.maxLength:
		return &RecordError{SQLSTATE: "22001", Column: c.name, Message: fmt.Sprintf("column %q takes at most %d characters", c.name, c.maxLength)}
	}
	return nil
}

// recordStates are the SQLSTATEs by which the server refuses a record: bad data, a violated constraint, a value too long for an
// index, an exception that a trigger raised, also with a state of its own, of a class that PostgreSQL does not have.
const recordStates = `^(21|22|23|44|45|54|P0|[6-9I-OQ-WYZ])`

var recordState = regexp.MustCompile(recordStates)

// refusesRecord tells that err may be the fault of single records.
func refusesRecord(err error) bool {
	e, ok := errors.AsType[*pgconn.PgError](err)
	switch {
	case !ok || endsConnection(e):
		return false
	case e.Code == protocolViolation || e.Code == nameTooLong: // says the function that reads a type's bytes
		return true
	}
	return recordState.MatchString(e.Code)
}

// refuses is [refusesRecord] for a table, whose row security refuses records with a code of its own.
func (t *target) refuses(err error) bool {
	if e, ok := errors.AsType[*pgconn.PgError](err); ok && t.secured && e.Code == insufficientPrivilege {
		return true
	}
	return refusesRecord(err)
}

func recordError(err error) *RecordError {
	e, _ := errors.AsType[*pgconn.PgError](err)
	return &RecordError{SQLSTATE: e.Code, Message: e.Message, Column: e.ColumnName, Constraint: e.ConstraintName}
}
