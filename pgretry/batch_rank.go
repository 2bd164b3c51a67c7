package pgretry

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

// rank orders the records by key and leaves the last of each key alone, or with Newer the newest. Where bytes do not tell
// which keys are equal (1.0 and 1.00, a and A in citext), or which value is newer, the server does.
func (t *target) rank(ctx context.Context, tx pgx.Tx, e *encoded, results []Record) error {
	exact := t.keyIsExact()
	repeats := exact && e.repeats()
	switch {
	case exact && !repeats:
		return nil
	case exact && t.batch.Newer == "":
		e.keepLast(results, func(n int) bool { return e.same(e.order[n], e.order[n+1]) })
		return nil
	}
	superseded, err := t.askRank(ctx, tx, e)
	if err != nil {
		return err
	}
	e.keepLast(results, func(n int) bool { return superseded[n] })
	if exact {
		e.orderByKey() // as every batch does: locks have one order
	}
	return nil
}

func (t *target) keyIsExact() bool {
	for _, k := range t.key {
		if !t.columns[k].exact {
			return false
		}
	}
	return true
}

// askRank has the server order the records by key and, of the same key, in the order in which one supersedes the other. It
// returns which records are superseded by the next. Without Newer the later record does; with it the newer, or the later of
// equally new ones.
func (t *target) askRank(ctx context.Context, tx pgx.Tx, e *encoded) ([]bool, error) {
	rows := slices.Sorted(slices.Values(e.order)) // the later record is the later row
	ranked := slices.Clone(t.key)
	order := ""
	if t.batch.Newer != "" {
		newer := indexOf(t.batch.Columns, t.batch.Newer)
		ranked = append(ranked, newer)
		order = t.columns[newer].quoted + " nulls first, "
	}
	var keys, whole []string
	var columns []column
	var params [][]byte
	var oids []uint32
	for i, k := range ranked {
		c := t.columns[k]
		columns = append(columns, c)
		params, oids = append(params, e.array(c, k, rows)), append(oids, c.array)
		if i < len(t.key) {
			key := c.quoted
			if c.collation != "" {
				key += " collate " + c.collation
			}
			keys, whole = append(keys, key), append(whole, c.quoted+" is not null")
		}
	}
	key := strings.Join(keys, ", ")
	sql := fmt.Sprintf(`select pgretry_n, (%s and lead(pgretry_n) over (partition by %s order by %s pgretry_n) is not null)::int::bigint
		from %s order by %[2]s, %[3]s pgretry_n`,
		strings.Join(whole, " and "), key, order, unnestOnly(columns))
	reader, err := send(ctx, tx.Conn(), sql, params, oids)
	if err != nil {
		return nil, err
	}
	superseded := make([]bool, 0, len(rows))
	e.order = e.order[:0]
	for reader.NextRow() {
		v := reader.Values()
		e.order = append(e.order, rows[binary.BigEndian.Uint64(v[0])-1])
		superseded = append(superseded, binary.BigEndian.Uint64(v[1]) == 1)
	}
	_, err = reader.Close()
	return superseded, err
}
