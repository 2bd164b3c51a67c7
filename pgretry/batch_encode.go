package pgretry

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"reflect"
	"time"

	"github.com/jackc/pgx/v5/pgtype"
)

// encoded is a batch's records in PostgreSQL's binary format.
type encoded struct {
	data  []byte
	spans []span // len(columns) per record
	width int    // columns
	order []int  // the records to write, by key
	keys  [][]byte
	// before has, of a record, the one of the same key that it supersedes.
	before map[int]int
}

// span is a value in data; NULL has a negative length.
type span struct{ at, length int32 }

// encode turns the records into binary values. Into results it writes which records cannot be: a value does not fit its
// column.
func (t *target) encode(types *pgtype.Map, records [][]any, results []Record) (*encoded, error) {
	e := &encoded{width: len(t.columns), spans: make([]span, len(records)*len(t.columns)), keys: make([][]byte, len(records))}
	e.data = make([]byte, 0, len(e.spans)*16)
	plans := make([]plan, len(t.columns))
	for i, record := range records {
		if err := e.record(t, types, plans, i, record); err != nil {
			results[i] = Record{Failed, err}
		}
		if len(e.data) > 1<<30 {
			return nil, errors.New("the records take more than 1 GiB: give fewer to an Upsert")
		}
	}
	for i := range records {
		if results[i].Outcome != Failed {
			e.keys[i] = e.key(t, i)
			e.order = append(e.order, i)
		}
	}
	e.orderByKey()
	return e, nil
}

// plan is how values of one Go type go into one column.
type plan struct {
	goType   reflect.Type
	nilable  bool
	oid      uint32 // the type that stands for the column's
	typeName string
	unknown  bool              // to pgx
	encode   pgtype.EncodePlan // nil if there is none
}

func (e *encoded) record(t *target, types *pgtype.Map, plans []plan, i int, record []any) *RecordError {
	if len(record) != e.width {
		return &RecordError{SQLSTATE: "42601", Message: fmt.Sprintf("the record has %d values for %d columns", len(record), e.width)}
	}
	for k, value := range record {
		s, err := e.value(&t.columns[k], types, &plans[k], value)
		if err != nil {
			return &RecordError{SQLSTATE: "22000", Column: t.columns[k].name, Message: fmt.Sprintf("column %q: %v", t.columns[k].name, err)}
		}
		e.spans[i*e.width+k] = s
		if err := t.columns[k].unreadable(e.get(i, k)); err != nil {
			return err
		}
		if t.tested {
			if err := t.columns[k].fault(e.get(i, k)); err != nil {
				return err
			}
		}
	}
	return nil
}

func (e *encoded) value(c *column, types *pgtype.Map, p *plan, value any) (span, error) {
	at := int32(len(e.data))
	if value == nil {
		return span{at, -1}, nil
	}
	if s, ok := value.(string); ok && c.enum {
		e.data = append(e.data, s...)
		return span{at, int32(len(s))}, nil
	}
	if v, ok := value.(time.Time); ok && (v.Year() < firstYear || v.Year() > lastYear) {
		return span{}, fmt.Errorf("the year %d is out of range", v.Year())
	}
	if data, ok := appendUsual(e.data, c.oid, value); ok {
		e.data = data
		return span{at, int32(len(data)) - at}, nil
	}
	if goType := reflect.TypeOf(value); p.goType != goType {
		*p = c.plan(types, goType, value)
	}
	data, err := p.write(types, value, e.data)
	switch {
	case err != nil:
		return span{}, err
	case data == nil:
		return span{at, -1}, nil
	}
	e.data = data
	return span{at, int32(len(data)) - at}, nil
}

// plan is how pgx writes values of one Go type. A type that pgx does not know takes text if it is a kind
// of text, else bytes alone: pgx would send a string or a number as it stands in memory, which means another value there.
func (c *column) plan(types *pgtype.Map, goType reflect.Type, value any) plan {
	p := plan{goType: goType, oid: c.oid, typeName: c.typeName}
	if _, known := types.TypeForOID(c.oid); !known {
		p.oid = pgtype.ByteaOID
		if c.text {
			p.oid = pgtype.TextOID
		}
		p.unknown = true
	}
	p.encode = types.PlanEncode(p.oid, pgtype.BinaryFormatCode, value)
	switch goType.Kind() {
	case reflect.Map, reflect.Pointer, reflect.Slice:
		p.nilable = true
	}
	return p
}

// write appends a value to data; nil is NULL.
func (p *plan) write(types *pgtype.Map, value any, data []byte) ([]byte, error) {
	if p.nilable && reflect.ValueOf(value).IsNil() {
		return types.Encode(p.oid, pgtype.BinaryFormatCode, value, data)
	}
	err := fmt.Errorf("cannot send %T as %s", value, p.typeName)
	if p.encode != nil {
		var out []byte
		if out, err = p.encode.Encode(value, data); err == nil {
			return out, nil
		}
	}
	if p.unknown {
		return nil, err
	}
	if out, readErr := asText(types, p.oid, value, data); readErr == nil {
		return out, nil
	}
	return nil, err
}

// asText appends a value that pgx knows as text alone, such as a string for a uuid. Of an empty text or an array pgx reads
// what PostgreSQL does not.
func asText(types *pgtype.Map, oid uint32, value any, data []byte) ([]byte, error) {
	text, err := types.Encode(oid, pgtype.TextFormatCode, value, nil)
	t, _ := types.TypeForOID(oid)
	if _, array := t.Codec.(*pgtype.ArrayCodec); err != nil || array || len(text) == 0 {
		return nil, errors.New("no text that stands for a value")
	}
	var read any
	if err := types.Scan(oid, pgtype.TextFormatCode, text, &read); err != nil {
		return nil, err
	}
	return types.Encode(oid, pgtype.BinaryFormatCode, read, data)
}

// appendUsual writes the types that most values have, as their pgtype plans do, which take several times as long.
func appendUsual(data []byte, oid uint32, value any) ([]byte, bool) {
	switch v := value.(type) {
	case string:
		if oid == pgtype.TextOID || oid == pgtype.VarcharOID {
			return append(data, v...), true
		}
	case int64:
		if oid == pgtype.Int8OID {
			return binary.BigEndian.AppendUint64(data, uint64(v)), true
		}
	case float64:
		if oid == pgtype.Float8OID {
			return binary.BigEndian.AppendUint64(data, math.Float64bits(v)), true
		}
	case time.Time:
		if oid == pgtype.TimestamptzOID { // its range is tested before
			return binary.BigEndian.AppendUint64(data, uint64(v.UnixMicro()-microsTo2000)), true
		}
	}
	return data, false
}

// PostgreSQL's times go from November of 4714 BC to the year 294276.
const (
	firstYear = -4713
	lastYear  = 294_276
)

// microsTo2000 is the start of PostgreSQL's time in microseconds since 1970.
const microsTo2000 = 946_684_800_000_000

func (e *encoded) get(record, column int) (value []byte, null bool) {
	s := e.spans[record*e.width+column]
	if s.length < 0 {
		return nil, true
	}
	return e.data[s.at : s.at+s.length], false
}

// array is one column of the given records as a one-dimensional array.
func (e *encoded) array(c column, k int, rows []int) []byte {
	out := make([]byte, 20, 20+len(rows)*12)
	hasNull := uint32(0)
	for _, i := range rows {
		out, hasNull = e.appendValue(out, i, k, hasNull)
	}
	binary.BigEndian.PutUint32(out[0:], 1) // dimensions
	binary.BigEndian.PutUint32(out[4:], hasNull)
	binary.BigEndian.PutUint32(out[8:], c.oid)
	binary.BigEndian.PutUint32(out[12:], uint32(len(rows)))
	binary.BigEndian.PutUint32(out[16:], 1) // the first index
	return out
}

func (e *encoded) appendValue(out []byte, record, column int, hasNull uint32) ([]byte, uint32) {
	value, null := e.get(record, column)
	if null {
		return binary.BigEndian.AppendUint32(out, 0xffffffff), 1
	}
	out = binary.BigEndian.AppendUint32(out, uint32(len(value)))
	return append(out, value...), hasNull
}
