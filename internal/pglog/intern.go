package pglog

// maxInterned bounds the shared texts of a worker; longer texts than maxInternedText are rarely met twice.
const (
	maxInterned     = 4096
	maxInternedText = 128
)

// intern gives a text as a string that equal texts share.
func (w *worker) intern(text []byte, limit int) string {
	if len(text) == 0 || len(text) > maxInternedText {
		return cut(text, limit)
	}
	if s, ok := w.shared[string(text)]; ok {
		return cutString(s, limit)
	}
	if w.shared == nil || len(w.shared) >= maxInterned {
		w.shared = map[string]string{}
	}
	s := string(text)
	w.shared[s] = s
	return cutString(s, limit)
}

func cutString(s string, limit int) string { return s[:min(len(s), limit)] }

// names are those of a session, as records hold them.
type names struct{ user, database, app, client string }

// names gives the names that the prefix of the present line holds.
func (w *worker) names() names {
	if m := w.hit; m != nil && m.shared != nil && m.owner == w.f.owner {
		return *m.shared
	}
	n := names{
		user: w.known(w.f.user), database: w.known(w.f.database), app: w.known(w.f.app), client: w.known(w.f.client),
	}
	if m := w.hit; m != nil && m.owner == w.f.owner {
		m.shared = &n
	}
	return n
}

// statement is one that a worker has met before; programs send the same few over and over.
type statement struct {
	text  string
	table string // see TableOf
	asked bool   // table is known
}

// keepStatement sets the statement of a record that has none yet.
func (w *worker) keepStatement(rec *Record, text []byte) {
	if len(text) == 0 || len(text) > maxInternedText {
		rec.Statement = cut(text, maxStatement)
		return
	}
	s := w.statements[string(text)]
	if s == nil {
		if w.statements == nil || len(w.statements) >= maxInterned {
			w.statements = map[string]*statement{}
		}
		s = &statement{text: string(text)}
		w.statements[s.text] = s
	}
	rec.Statement, rec.known = s.text, s
}

// statementTable is the table that the record's statement names.
func (r *Record) statementTable() string {
	if r.known == nil {
		return TableOf(r.Statement)
	}
	if !r.known.asked {
		r.known.table, r.known.asked = TableOf(r.Statement), true
	}
	return r.known.table
}
