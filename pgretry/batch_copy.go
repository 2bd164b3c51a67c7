package pgretry

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"regexp"
	"strconv"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// unread is a row that the server cannot read, by its position.
type unread struct {
	n   int
	err *RecordError
}

// stage makes the temporary table anew and fills it with rows, but for those that it returns.
func (t *target) stage(ctx context.Context, tx pgx.Tx, e *encoded, rows []int) ([]unread, error) {
	clear := `drop table if exists pg_temp.pgretry_stage, pg_temp.pgretry_report;`
	if _, err := tx.Exec(ctx, clear+t.sql.create); err != nil {
		return nil, err
	}
	unread, err := t.fill(ctx, tx, e, rows)
	if err != nil {
		return nil, err
	}
	_, err = tx.Exec(ctx, `analyze pg_temp.pgretry_stage`)
	return unread, err
}

// fill copies rows into the temporary table and returns those that the server cannot read. Behind such a row it goes on by
// smaller steps, which grow again.
func (t *target) fill(ctx context.Context, tx pgx.Tx, e *encoded, rows []int) (bad []unread, err error) {
	for n, step := 0, len(rows); n < len(rows); {
		step = min(step, len(rows)-n)
		err := t.copy(ctx, tx, e.copyData(rows[n:n+step], n+1))
		line := lineOf(err)
		switch {
		case err == nil:
			n += step
			step *= 2
			continue
		case !refusesRecord(err):
			return nil, err
		case line == 0 && step > 1:
			step /= 2
			continue
		case line > 1:
			if err := t.copy(ctx, tx, e.copyData(rows[n:n+line-1], n+1)); err != nil {
				return nil, err
			}
			n += line - 1
		}
		bad = append(bad, unread{n, recordError(err)})
		n++
		step = 2 * max(1, line)
	}
	return bad, nil
}

var copyLine = regexp.MustCompile(`COPY pgretry_stage,\D*(\d+)`)

// lineOf is the row, counted from 1, at which COPY failed; zero if the error does not tell.
func lineOf(err error) (line int) {
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		if found := copyLine.FindStringSubmatch(e.Where); found != nil {
			line, _ = strconv.Atoi(found[1])
		}
	}
	return line
}

// copy fills the temporary table further; an error leaves it and the transaction as they were.
func (t *target) copy(ctx context.Context, tx pgx.Tx, data []byte) error {
	return pgx.BeginFunc(ctx, tx, func(savepoint pgx.Tx) error {
		_, err := savepoint.Conn().PgConn().CopyFrom(ctx, bytes.NewReader(data), t.sql.copy)
		return err
	})
}

// copyData is the given records in COPY's binary format, with their position, counted from first, as the last column.
func (e *encoded) copyData(rows []int, first int) []byte {
	out := append(make([]byte, 0, len(rows)*(e.width+1)*12), "PGCOPY\n\xff\r\n\x00\x00\x00\x00\x00\x00\x00\x00\x00"...)
	for n, i := range rows {
		out = binary.BigEndian.AppendUint16(out, uint16(e.width+1))
		for k := range e.width {
			out, _ = e.appendValue(out, i, k, 0)
		}
		out = binary.BigEndian.AppendUint32(out, 8)
		out = binary.BigEndian.AppendUint64(out, uint64(first+n))
	}
	return binary.BigEndian.AppendUint16(out, 0xffff)
}
