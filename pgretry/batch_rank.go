package pgretry

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

// rank orders the records by key and leaves the last of each key alone, or with Newer the newest. Where bytes do not tell
// which keys are equal (1.0 and 1.00, a and A in citext), or which value is newer, the server does. It may find records that
// it cannot read, which it then leaves out and writes into results; without staged they make it fail.
func (t *target) rank(ctx context.Context, tx pgx.Tx, e *encoded, staged bool, results []Record) error {
	exact := t.keyIsExact()
	switch {
	case exact && !e.repeats():
		return nil
	case exact && t.batch.Newer == "":
		e.keepLast(func(n int) bool { return e.same(e.order[n], e.order[n+1]) })
		return nil
	}
	superseded, err := t.askRank(ctx, tx, e, staged, results)
	if err != nil {
		return err
	}
	e.keepLast(func(n int) bool { return superseded[n] })
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
func (t *target) askRank(ctx context.Context, tx pgx.Tx, e *encoded, staged bool, results []Record) ([]bool, error) {
	rows := slices.Sorted(slices.Values(e.order)) // the later record is the later row
	ranked := slices.Clone(t.key)
	if t.batch.Newer != "" {
		ranked = append(ranked, slices.Index(t.batch.Columns, t.batch.Newer))
	}
	source := t.unnest(ranked, ranked)
	params, oids := t.arrays(e, ranked, rows)
	if staged || slices.Contains(oids, 0) {
		source, params, oids = stage+" as i", nil, nil
		unread, err := t.stage(ctx, tx, e, rows)
		if err != nil {
			return nil, err
		}
		for _, u := range unread {
			results[rows[u.n]] = Record{Failed, u.err}
		}
	}
	reader, err := send(ctx, tx.Conn(), t.rankSQL(source), params, oids)
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

// arrays are the given columns of rows as arrays, with the types of those.
func (t *target) arrays(e *encoded, columns, rows []int) (params [][]byte, oids []uint32) {
	for _, k := range columns {
		params, oids = append(params, e.array(t.columns[k], k, rows)), append(oids, t.columns[k].array)
	}
	return params, oids
}

// rankSQL gives the rows of a source in order, and of each whether the next supersedes it. Of a composite value `is not null`
// would say that no field is, which is another question.
func (t *target) rankSQL(source string) string {
	var keys, whole []string
	for _, k := range t.key {
		c := t.columns[k]
		key := c.quoted
		if c.collation != "" {
			key += " collate " + c.collation
		}
		keys, whole = append(keys, key), append(whole, c.quoted)
	}
	key, order := strings.Join(keys, ", "), ""
	if t.batch.Newer != "" {
		order = pgx.Identifier{t.batch.Newer}.Sanitize() + " nulls first, "
	}
	return fmt.Sprintf(`select pgretry_n, (num_nulls(%s) = 0 and lead(pgretry_n) over (partition by %s order by %s pgretry_n) is not null)::int::bigint
		from %s order by %[2]s, %[3]s pgretry_n`,
		strings.Join(whole, ", "), key, order, source)
}

// same tells that two records have one key, by its bytes. A key with a NULL is nobody else's.
func (e *encoded) same(a, b int) bool { return e.keys[a] != nil && bytes.Equal(e.keys[a], e.keys[b]) }

// repeats tells that some records of the order have the key of another.
func (e *encoded) repeats() bool {
	for n := 1; n < len(e.order); n++ {
		if e.same(e.order[n-1], e.order[n]) {
			return true
		}
	}
	return false
}

// keepLast leaves of each key the last record of the order alone; superseded tells of a place whether the next has the same
// key.
func (e *encoded) keepLast(superseded func(n int) bool) {
	last := e.order[:0]
	for n, i := range e.order {
		if n+1 < len(e.order) && superseded(n) {
			if e.before == nil {
				e.before = map[int]int{}
			}
			e.before[e.order[n+1]] = i
			continue
		}
		last = append(last, i)
	}
	e.order = last
}

// orderByKey sorts the order by key, then by position. Most comparisons see the start of the keys only.
func (e *encoded) orderByKey() {
	type place struct {
		start uint64
		row   int
	}
	places := make([]place, len(e.order))
	for n, i := range e.order {
		var start [8]byte
		copy(start[:], e.keys[i])
		places[n] = place{binary.BigEndian.Uint64(start[:]), i}
	}
	slices.SortFunc(places, func(a, b place) int {
		if a.start != b.start {
			return cmp.Compare(a.start, b.start)
		}
		return cmp.Or(bytes.Compare(e.keys[a.row], e.keys[b.row]), a.row-b.row)
	})
	for n := range places {
		e.order[n] = places[n].row
	}
}

// key is the record's key: the bytes of its column, or of several, each behind its length; nil if one of them is NULL.
func (e *encoded) key(t *target, i int) []byte {
	if len(t.key) == 1 {
		value, _ := e.get(i, t.key[0])
		return value
	}
	var key []byte
	for _, k := range t.key {
		value, null := e.get(i, k)
		if null {
			return nil
		}
		key = binary.BigEndian.AppendUint32(key, uint32(len(value)))
		key = append(key, value...)
	}
	return key
}
