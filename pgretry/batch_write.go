package pgretry

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"slices"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// set writes rows in one statement, which gets them as arrays, or by COPY if they are many.
func (t *target) set(ctx context.Context, tx pgx.Tx, e *encoded, rows []int) ([]written, error) {
	if len(rows) >= CopyFrom || t.copies() {
		return t.merge(ctx, tx, e, rows)
	}
	return t.upsert(ctx, tx, e, rows)
}

// copies tells that rows cannot travel as arrays, for a column is one itself.
func (t *target) copies() bool {
	return slices.ContainsFunc(t.columns, func(c column) bool { return c.array == 0 })
}

// upsert writes rows in one statement that takes them as arrays.
func (t *target) upsert(ctx context.Context, tx pgx.Tx, e *encoded, rows []int) ([]written, error) {
	params := make([][]byte, len(t.columns))
	oids := make([]uint32, len(t.columns))
	for k, c := range t.columns {
		params[k], oids[k] = e.array(c, k, rows), c.array
	}
	s := setStatement{sql: t.sql.upsert, detail: t.sql.upsertDetail, params: params, oids: oids}
	for _, k := range t.key {
		s.keyParams, s.keyOIDs = append(s.keyParams, params[k]), append(s.keyOIDs, oids[k])
	}
	return t.execute(ctx, tx.Conn(), s, rows)
}

// merge copies rows into a temporary table and writes them from there in one statement.
func (t *target) merge(ctx context.Context, tx pgx.Tx, e *encoded, rows []int) ([]written, error) {
	unread, err := t.stage(ctx, tx, e, rows)
	if err != nil {
		return nil, err
	}
	return t.execute(ctx, tx.Conn(), setStatement{sql: t.sql.merge, detail: t.sql.mergeDetail, unread: unread}, rows)
}

// execute runs a statement made by [target.setSQL] and reads what became of rows.
func (t *target) execute(ctx context.Context, conn *pgx.Conn, s setStatement, rows []int) ([]written, error) {
	r := setReader{target: t, rows: rows, out: make([]written, len(rows))}
	for _, u := range s.unread {
		r.refuse(u.n, u.err)
	}
	if err := r.read(send(ctx, conn, s.sql, s.params, s.oids)); err != nil {
		return nil, err
	}
	if s.detail != "" && r.mixed() {
		if err := r.read(send(ctx, conn, s.detail, s.keyParams, s.keyOIDs)); err != nil {
			return nil, err
		}
	}
	if r.mixed() && r.told != r.count {
		return nil, errUntold
	}
	return r.finish(), nil
}

// errUntold is no error of the server: a written row has another key than its record, such as one that a trigger changed.
var errUntold = errors.New("the table gave a row another key than its record")

// setStatement is a statement that writes rows, and the one that tells more of them.
type setStatement struct {
	sql, detail       string
	params, keyParams [][]byte
	oids, keyOIDs     []uint32
	unread            []unread // of the rows: the statement does not see these
}

var binaryFormat = []int16{pgx.BinaryFormatCode}

// send runs sql with binary parameters, as a prepared statement where the connection keeps those.
func send(ctx context.Context, conn *pgx.Conn, sql string, params [][]byte, oids []uint32) (*pgconn.ResultReader, error) {
	mode := conn.Config().DefaultQueryExecMode
	if len(params) == 0 || mode != pgx.QueryExecModeCacheStatement {
		return conn.PgConn().ExecParams(ctx, sql, params, oids, binaryFormat, binaryFormat), nil
	}
	h := fnv.New64a()
	h.Write([]byte(sql))
	sd, err := conn.Prepare(ctx, fmt.Sprintf("pgretry_%x", h.Sum64()), sql)
	if err != nil {
		return nil, err
	}
	return conn.PgConn().ExecPrepared(ctx, sd.Name, params, binaryFormat, binaryFormat), nil
}

// setReader reads the rows of a statement made by [target.setSQL].
type setReader struct {
	target         *target
	rows           []int
	out            []written
	count, created int64
	refused, told  int64
	single         bool // outcomes came row by row
}

func (r *setReader) read(reader *pgconn.ResultReader, err error) error {
	if err != nil {
		return err
	}
	for reader.NextRow() {
		v := reader.Values()
		r.row(int64(binary.BigEndian.Uint64(v[0])), int64(binary.BigEndian.Uint64(v[1])))
	}
	_, err = reader.Close()
	return err
}

// mixed tells that the good rows fared differently.
func (r *setReader) mixed() bool {
	return r.created > 0 && r.created < r.count || r.count > 0 && r.count+r.refused < int64(len(r.rows))
}

func (r *setReader) row(n, what int64) {
	switch {
	case n < 0:
		r.count, r.created = -1-n, what
	case what > 0:
		err := r.target.faults[what-1].err
		r.refuse(int(n-1), &err)
	default:
		r.single = true
		r.told++
		r.out[n-1].Outcome = Created
		if what == -2 {
			r.out[n-1].Outcome = Updated
		}
	}
}

func (r *setReader) refuse(n int, err *RecordError) {
	r.out[n].Record = Record{Failed, err}
	r.refused++
}

func (r *setReader) finish() []written {
	rest := Unchanged // of rows that the statement did not mention
	switch {
	case r.single || r.count == 0:
	case r.created == r.count:
		rest = Created
	default:
		rest = Updated
	}
	for i := range r.out {
		r.out[i].record = r.rows[i]
		if r.out[i].Outcome == Unwritten {
			r.out[i].Outcome = rest
		}
	}
	return r.out
}

// loop writes rows one by one on the server, to find those that only the server can refuse.
func (t *target) loop(ctx context.Context, tx pgx.Tx, e *encoded, rows []int) ([]written, error) {
	unread, err := t.stage(ctx, tx, e, rows)
	if err != nil {
		return nil, err
	}
	if _, err := tx.Exec(ctx, t.sql.loop); err != nil {
		return nil, err
	}
	out := make([]written, len(rows))
	for n, record := range rows {
		out[n].record = record
	}
	for _, u := range unread {
		out[u.n].Record = Record{Failed, u.err}
	}
	return out, readReport(ctx, tx, out)
}

// readReport adds what the loop says of each row that it has seen.
func readReport(ctx context.Context, tx pgx.Tx, out []written) error {
	report, err := tx.Query(ctx, `select n, created, sqlstate, message, col, con from pg_temp.pgretry_report`)
	if err != nil {
		return err
	}
	var n int64
	var created *bool
	var state, message, column, constraint *string
	_, err = pgx.ForEachRow(report, []any{&n, &created, &state, &message, &column, &constraint}, func() error {
		w := &out[n-1]
		switch {
		case state != nil:
			w.Record = Record{Failed, &RecordError{SQLSTATE: *state, Message: *message, Column: *column, Constraint: *constraint}}
		case created == nil:
			w.Outcome = Unchanged
		case *created:
			w.Outcome = Created
		default:
			w.Outcome = Updated
		}
		return nil
	})
	return err
}
