package pglog

// sessionKey tells sessions apart: by session id, else by pid and start. Zero when the line does not tell.
func (w *worker) sessionKey() uint64 {
	switch {
	case w.f.session != 0:
		return mix(w.u.source, w.f.session) | 1
	case w.f.pid != 0:
		return mix(w.u.source, uint64(w.f.pid)^w.f.start<<1) | 1
	case w.u.pid != 0:
		return mix(w.u.source, uint64(w.u.pid)) | 1
	}
	return 0
}

// server handles a line of a PostgreSQL server log whose prefix is read.
func (w *worker) server(line []byte, t token, end int, f *flow) {
	if t.kind != kindRecord {
		if !f.open && w.recent == nil && w.f.number == 0 {
			return // nobody waits for it
		}
		w.label(line[end:], t.kind, w.sessionKey(), f)
		return
	}
	key := w.sessionKey()
	w.note(line)
	w.out.seen.records++
	message := line[end:]
	if t.severity < Error {
		f.open = false
		delete(w.recent, key)
		w.quiet(message, key)
		return
	}
	if w.f.time == 0 && w.f.timeAt > 0 {
		w.f.time = w.clock.time(line[w.f.timeAt-1:])
		w.out.span.add(w.f.time)
	}
	state := w.f.state
	if len(message) > 7 && message[5] == ':' && message[6] == ' ' && stateBytes(message[:5]) {
		state, message = message[:5], message[7:]
	}
	n := w.names()
	rec := w.out.record()
	*rec = Record{
		Severity: t.severity, Line: w.begin, Time: w.timeOf(), Source: w.sources[w.u.source], PID: w.f.pid,
		VXID: string(w.f.vxid), XID: w.f.xid, HasXID: w.f.hasXID, SQLState: string(state),
		Message: w.intern(message, maxMessage), langs: t.langs, torn: w.torn,
	}
	if rec.PID == 0 {
		rec.PID = w.u.pid
	}
	rec.User, rec.Database, rec.Application, rec.Client = n.user, n.database, n.app, n.client
	w.emit(rec, key)
	f.rec, f.key, f.part, f.open = rec, key, kindRecord, true
	if rec.Severity >= Fatal && key != 0 {
		w.acts.entry(key).act.flags |= actBoundary
	}
}

func (w *worker) timeOf() int64 {
	if w.f.time != 0 {
		return w.f.time
	}
	if w.u.time == 0 && w.u.stamp != nil {
		w.u.time, _, _ = parseTime(w.u.stamp, 0)
	}
	return w.u.time
}

// known leaves out what PostgreSQL writes for a name that it does not have yet.
func known(name []byte) string {
	if len(name) > 2 && name[0] == '[' && name[len(name)-1] == ']' && string(name) != "[local]" {
		return ""
	}
	return string(name)
}

// known is the function of that name with the text shared among records.
func (w *worker) known(name []byte) string {
	if len(name) > 2 && name[0] == '[' && name[len(name)-1] == ']' && string(name) != "[local]" {
		return ""
	}
	return w.intern(name, maxMessage)
}

// emit adds an error to the items, with what its session said before.
func (w *worker) emit(rec *Record, key uint64) {
	it := item{key: key, rec: rec}
	if key != 0 {
		e := w.acts.entry(key)
		e.number(w.f.number)
		it.act = e.take()
	} else {
		w.out.seen.noSession++
	}
	if rec.SQLState == "" {
		w.out.seen.noState++
	}
	it.act.source = w.u.source
	w.out.items = append(w.out.items, it)
	if w.u.chunk > 0 {
		if w.recent == nil {
			w.recent = map[uint64]*Record{}
		}
		w.recent[key] = rec
	}
}

// label handles DETAIL, STATEMENT and the like: they belong to the last record of the same session.
func (w *worker) label(text []byte, kind lineKind, key uint64, f *flow) {
	if key != 0 && w.f.number != 0 {
		w.acts.entry(key).number(w.f.number)
	}
	if f.rec == nil || f.key != key {
		if w.recent != nil && w.recent[key] != nil {
			f.rec, f.key = w.recent[key], key
		} else {
			f.open = false
			return
		}
	} else if !f.open {
		return
	}
	f.part, f.open = kind, true
	switch rec := f.rec; {
	case kind == kindStatement && rec.Statement == "":
		w.keepStatement(rec, text)
	case kind == kindHint && rec.Hint == "":
		rec.Hint = w.intern(text, maxMessage)
	default:
		rec.append(kind, text)
	}
}

func (r *Record) append(kind lineKind, text []byte) {
	switch kind {
	case kindRecord:
		r.Message = appendCut(r.Message, text, maxMessage)
	case kindDetail:
		r.Detail = appendCut(r.Detail, text, maxMessage)
	case kindHint:
		r.Hint = appendCut(r.Hint, text, maxMessage)
	case kindContext:
		r.Context = appendCut(r.Context, text, maxMessage)
	case kindStatement:
		r.Statement, r.known = appendCut(r.Statement, text, maxStatement), nil
	}
}
