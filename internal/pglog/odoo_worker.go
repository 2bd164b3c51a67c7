package pglog

import (
	"bytes"
)

const odooSalt = 0x6f646f6f

// odooLine handles a line of an Odoo log; false when it is none.
func (w *worker) odooLine(line []byte, f *flow) bool {
	var o odooLine
	if !parseOdoo(stripEscapes(line), &o) {
		return false
	}
	f.open, f.event = false, nil
	w.out.span.add(o.time)
	w.out.seen.records++
	key := w.odooKey(&o)
	if query := queryOf(o.message); query != nil && bytes.HasSuffix(o.logger, []byte("sql_db")) {
		rec := &Record{
			Program: Odoo, Severity: Error, Line: w.begin, Time: o.time, Source: w.sources[w.u.source], PID: o.pid,
			Database: knownDB(o.db), Application: "odoo", Statement: cut(query, maxStatement),
		}
		w.out.items = append(w.out.items, item{key: key, rec: rec, act: activity{source: w.u.source}})
		f.rec, f.key, f.part, f.open = rec, key, kindStatement, true
		return true
	}
	if e := o.event(); e != nil {
		e.database = knownDB(o.db)
		w.out.items = append(w.out.items, item{key: key, event: e, act: activity{source: w.u.source}})
		f.event = e
	}
	return true
}

// odooKey is the narrowest thing that one line and the next of the same transaction share.
func (w *worker) odooKey(o *odooLine) uint64 {
	if o.pid == 0 {
		return 0
	}
	return mix(mix(w.u.source^odooSalt, uint64(o.pid)), hashBytes(o.thread)) | 1
}

func knownDB(db []byte) string {
	if string(db) == "?" {
		return ""
	}
	return string(db)
}

var odooParts = []struct {
	head string
	kind lineKind
}{
	{"DETAIL:  ", kindDetail}, {"HINT:  ", kindHint}, {"CONTEXT:  ", kindContext}, {"DETAIL: ", kindDetail},
	{"HINT: ", kindHint}, {"CONTEXT: ", kindContext},
}

// odooText adds a line of the text that follows "bad query": the rest of the statement, then "ERROR: " and what psycopg2
// said.
func (r *Record) odooText(line []byte, f *flow) {
	if bytes.HasPrefix(line, []byte("ERROR: ")) && f.part == kindStatement {
		f.part = kindRecord
		r.Message = cut(line[len("ERROR: "):], maxMessage)
		return
	}
	if len(bytes.TrimSpace(line)) == 0 {
		if f.part != kindStatement {
			f.open = false
		}
		return
	}
	for _, p := range odooParts {
		if f.part != kindStatement && bytes.HasPrefix(line, []byte(p.head)) {
			f.part = p.kind
			r.append(p.kind, line[len(p.head):])
			return
		}
	}
	if f.part == kindRecord && bytes.HasPrefix(line, []byte("LINE ")) {
		f.part = kindQuery
	}
	r.append(f.part, line)
}

// endOdoo ends a record of Odoo at an empty line.
func (f *flow) endOdoo() {
	if f.open && f.rec != nil && f.rec.Program == Odoo && f.part != kindStatement {
		f.open = false
	}
}
