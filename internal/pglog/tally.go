package pglog

import (
	"cmp"
	"slices"
)

// Kind tells the causes apart that share an SQLSTATE.
type Kind string

// The kinds of an incident.
const (
	KindUpdate    Kind = "concurrent update"
	KindDelete    Kind = "concurrent delete"
	KindSSI       Kind = "read/write dependencies"
	KindRecovery  Kind = "conflict with recovery"
	KindPartition Kind = "row moved to another partition"
	KindRaised    Kind = "raised by a function"
	KindForeign   Kind = "foreign key check"
	KindDeadlock  Kind = "deadlock"
	KindLock      Kind = "lock not available"
	KindPrepared  Kind = "lock of a prepared transaction"
	KindOther     Kind = "other"
)

// Incident is all errors of one cause.
type Incident struct {
	SQLState      string
	Kind          Kind
	Table         string
	ConflictTable string
	Application   string
	Endpoint      string
	User          string
	Database      string
	First, Last   int64 // µs since 1970, 0 unknown
	Count         int64
	Cascades      int64
	RetriedOK     int64
	Lost          int64
	Message       string
	Statement     string // shape, without literals
	Example       string // the first statement as it was logged
	Row           string // a row that CONTEXT or DETAIL names: "(0,5)" by ctid, "(name)=(INV/1)" by key
	Rival         string // the other session's statement, where a DETAIL quotes it
	Where         Place  // of the first
	Orphan        bool   // 25P02 without a proven root
}

type tallyKey struct {
	state, table, application, endpoint, conflict string
	kind                                          Kind
}

// tally is an incident while it is being counted.
type tally struct {
	Incident
	owner *book
}

// book holds the incidents.
type book struct {
	byKey map[tallyKey]*tally
}

// maxExample is how much of a statement an incident keeps as its example, in bytes.
const maxExample = 500

// maxIncidents bounds the memory; what comes after is counted under an incident without table.
const maxIncidents = 5000

func newBook() *book { return &book{byKey: map[tallyKey]*tally{}} }

// at finds or opens an incident.
func (b *book) at(key tallyKey) *tally {
	t := b.byKey[key]
	if t == nil && len(b.byKey) >= maxIncidents {
		key = tallyKey{state: key.state, kind: key.kind}
		t = b.byKey[key]
	}
	if t == nil {
		t = &tally{owner: b, Incident: Incident{
			SQLState: key.state, Kind: key.kind, Table: key.table, ConflictTable: key.conflict,
			Application: key.application, Endpoint: key.endpoint,
		}}
		b.byKey[key] = t
	}
	return t
}

// count adds an error to its incident.
func (b *book) count(rec *Record, where Place) *tally {
	key := tallyKey{
		state: rec.SQLState, table: rec.Table(), application: rec.Application, endpoint: rec.Endpoint,
		conflict: rec.ConflictTable(), kind: kindOf(rec),
	}
	if key.conflict == key.table {
		key.conflict = ""
	}
	t := b.at(key)
	if t.Count == 0 {
		t.Message, t.Statement, t.Where = rec.Message, ShapeOf(rec.Statement), where
		t.Example = cut([]byte(rec.Statement), maxExample)
		t.User, t.Database = rec.User, rec.Database
	}
	if t.Rival == "" {
		t.Rival = rivalOf(rec)
	}
	if t.Row == "" {
		t.Row = rowOf(rec)
	}
	t.Count++
	t.span(rec.Time)
	return t
}

func (t *tally) span(at int64) {
	if at == 0 {
		return
	}
	if t.First == 0 || at < t.First {
		t.First = at
	}
	t.Last = max(t.Last, at)
}

// settle moves an error to the incident of its endpoint, which is known only at the end of the request.
func (t *tally) settle(root *Root, endpoint string, retried, lost bool) {
	to := t
	if endpoint != "" && t.Endpoint == "" && t.owner != nil {
		key := tallyKey{state: t.SQLState, table: t.Table, application: t.Application, endpoint: endpoint, conflict: t.ConflictTable, kind: t.Kind}
		to = t.owner.at(key)
		if to.Count == 0 {
			to.Message, to.Statement, to.Where, to.Rival = t.Message, t.Statement, root.Place, t.Rival
			to.User, to.Database, to.Example, to.Row = t.User, t.Database, t.Example, t.Row
		}
		t.Count--
		to.Count++
		t.Cascades -= int64(root.cascades)
		to.Cascades += int64(root.cascades)
		to.span(root.Time)
		root.tally = to
	}
	if retried {
		to.RetriedOK++
	}
	if lost {
		to.Lost++
	}
}

// list gives the incidents, the worst first.
func (b *book) list() []Incident {
	out := make([]Incident, 0, len(b.byKey))
	for _, t := range b.byKey {
		if t.Count > 0 {
			out = append(out, t.Incident)
		}
	}
	slices.SortFunc(out, func(x, y Incident) int {
		return cmp.Or(cmp.Compare(y.Cascades+y.Lost, x.Cascades+x.Lost), cmp.Compare(y.Count, x.Count),
			cmp.Compare(x.SQLState, y.SQLState), cmp.Compare(x.Table, y.Table), cmp.Compare(x.Application, y.Application),
			cmp.Compare(x.Endpoint, y.Endpoint), cmp.Compare(x.ConflictTable, y.ConflictTable), cmp.Compare(x.Kind, y.Kind))
	})
	return out
}
