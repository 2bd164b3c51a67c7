package pglog

import (
	"bytes"
)

var (
	keySeverity = []byte(`"error_severity":"`)
	keyRecord   = []byte(`"record":`)
	keySession  = []byte(`"session_id":"`)
	keyVirtual  = []byte(`"vxid":"`)
	keyPID      = []byte(`"pid":`)
	keyNumber   = []byte(`"line_num":`)
	keyMessage  = []byte(`"message":"`)
)

// jsonRecord handles a line of PostgreSQL's jsonlog, or an operator's line that carries such a record as an object.
func (w *worker) jsonRecord(line []byte, f *flow) bool {
	if w.quickJSON(line) {
		f.open = false
		return true
	}
	at := bytes.Index(line, keySeverity)
	if at < 0 {
		return w.nestedRecord(line, f)
	}
	if bytes.Contains(line[:at], keyRecord) && w.nestedRecord(line, f) {
		return true
	}
	f.open = false
	rest := line[at+len(keySeverity):]
	end := bytes.IndexByte(rest, '"')
	if end < 0 {
		return w.tornJSON(line, f)
	}
	word := rest[:end]
	if string(word) == "LOG" {
		w.quietJSON(line, at, rest)
		return true
	}
	t, ok := w.words.names[string(word)]
	if !ok {
		t, ok = w.words.names[string(unescapeJSON(nil, word))]
	}
	switch {
	case !ok:
		return false
	case t.severity < Error:
		w.quietJSON(line, at, rest)
		return true
	}
	w.errorJSON(line, t, f)
	return true
}

// tornJSON counts an error whose line broke off in the middle.
func (w *worker) tornJSON([]byte, *flow) bool { return true }

// quietJSON reads the few fields that a record below ERROR is of use for; they stand before the severity.
func (w *worker) quietJSON(line []byte, at int, rest []byte) {
	w.out.seen.records++
	head := line[:at]
	w.f = fields{}
	w.sessionJSON(head)
	if len(line) > 40 && line[1] == '"' && line[13] == '"' {
		w.f.time, _, _ = parseTime(line, 14)
		w.out.span.add(w.f.time)
	}
	key := w.sessionKey()
	if key == 0 {
		return
	}
	m := bytes.Index(rest, keyMessage)
	if m < 0 {
		return
	}
	message := rest[m+len(keyMessage):]
	if end := stringEnd(message, 0); end >= 0 {
		message = message[:end]
	}
	w.quietJSONMessage(line, message, key)
}

func (w *worker) quietJSONMessage(line, message []byte, key uint64) {
	if bytes.HasPrefix(message, []byte("connection authorized")) || bytes.IndexByte(message[:min(len(message), 64)], '\\') >= 0 {
		scanObject(line, func(k, v []byte, _ bool) bool {
			switch string(k) {
			case "user":
				w.f.user = v
			case "dbname":
				w.f.database = v
			}
			return true
		})
	}
	w.quiet(message, key)
}

func (w *worker) sessionJSON(head []byte) {
	if i := bytes.Index(head, keySession); i >= 0 {
		w.f.scanSession(head, i+len(keySession))
	}
	if i := bytes.Index(head, keyNumber); i >= 0 {
		n, _, _ := parseUint(head, skipJSONSpace(head, i+len(keyNumber)))
		w.f.number = int64(n)
	}
	if i := bytes.Index(head, keyVirtual); i >= 0 {
		w.f.scan('v', head, i+len(keyVirtual))
	}
	if w.f.pid == 0 {
		if i := bytes.Index(head, keyPID); i >= 0 {
			n, _, _ := parseUint(head, skipJSONSpace(head, i+len(keyPID)))
			w.f.pid = uint32(n)
		}
	}
}

// errorJSON reads an error in full.
func (w *worker) errorJSON(line []byte, t token, f *flow) {
	w.out.seen.records++
	w.f = fields{}
	rec := w.out.record()
	*rec = Record{Severity: t.severity, Line: w.begin, langs: t.langs, torn: w.torn, Source: w.sources[w.u.source]}
	var host, port string
	scanObject(line, func(key, value []byte, isString bool) bool {
		w.fieldJSON(rec, string(key), value, &host, &port)
		return true
	})
	w.finishJSON(rec, host, port, f)
}

// finishJSON emits a record whose fields are all read.
func (w *worker) finishJSON(rec *Record, host, port string, f *flow) {
	rec.PID = w.f.pid
	rec.Client = joinClient(host, port)
	if rec.SQLState == "" && rec.Message == "" {
		rec.SQLState = StateUnknown
	}
	w.out.span.add(rec.Time)
	key := w.sessionKey()
	w.emit(rec, key)
	if rec.Severity >= Fatal && key != 0 {
		w.acts.entry(key).act.flags |= actBoundary
	}
	f.rec, f.key, f.open = rec, key, false
}

func joinClient(host, port string) string {
	if port == "" || host == "" {
		return host
	}
	return host + ":" + port
}

// fieldJSON stores one field; the names are jsonlog's, and those that operators made of csvlog's columns.
func (w *worker) fieldJSON(rec *Record, key string, raw []byte, host, port *string) {
	text := func(limit int) string { return w.intern(w.unescaped(raw), limit) }
	rare := func(limit int) string { return cut(w.unescaped(raw), limit) } // hardly ever the same twice
	switch key {
	case "timestamp", "log_time":
		rec.Time, _, _ = parseTime(raw, 0)
	case "user", "user_name":
		rec.User = text(256)
	case "dbname", "database_name":
		rec.Database = text(256)
	case "pid", "process_id":
		n, _, _ := parseUint(raw, 0)
		w.f.pid = uint32(n)
	case "remote_host", "connection_from":
		*host = text(256)
	case "remote_port":
		*port = text(16)
	case "session_id":
		w.f.scanSession(raw, 0)
	case "line_num", "session_line_num":
		n, _, _ := parseUint(raw, 0)
		w.f.number = int64(n)
	case "vxid", "virtual_transaction_id":
		rec.VXID = rare(64)
	case "txid", "transaction_id":
		rec.XID, _, rec.HasXID = parseUint(raw, 0)
	case "state_code", "sql_state_code":
		rec.SQLState = text(5)
	case "message":
		rec.Message = text(maxMessage)
	case "detail":
		rec.Detail = rare(maxMessage)
	case "hint":
		rec.Hint = text(maxMessage)
	case "context":
		rec.Context = rare(maxMessage)
	case "statement", "query":
		w.keepStatement(rec, w.unescaped(raw))
	case "application_name":
		rec.Application = text(256)
	}
}

// unescaped gives the text that the inside of a JSON string means. It holds until the next call.
func (w *worker) unescaped(raw []byte) []byte {
	if bytes.IndexByte(raw, '\\') < 0 {
		return raw
	}
	w.textRoom = unescapeJSON(w.textRoom[:0], raw)
	return w.textRoom
}

// nestedRecord reads `{"level":"info","logger":"postgres","record":{"log_time":…,"error_severity":…}}`, or such a record
// by itself that somebody wrote with blanks.
func (w *worker) nestedRecord(line []byte, f *flow) bool {
	var object []byte
	scanObject(line, func(key, value []byte, isString bool) bool {
		switch {
		case string(key) == "record" && !isString:
			object = value
		case string(key) == "error_severity":
			object = line
		}
		return object == nil
	})
	if len(object) < 2 || object[0] != '{' {
		return false
	}
	f.open = false
	var severity []byte
	scanObject(object, func(key, value []byte, _ bool) bool {
		if string(key) == "error_severity" {
			severity = value
		}
		return severity == nil
	})
	t, ok := w.words.names[string(unescapeJSON(nil, severity))]
	if !ok {
		return false
	}
	w.errorOrQuietJSON(object, t, f)
	return true
}

func (w *worker) errorOrQuietJSON(object []byte, t token, f *flow) {
	if t.severity >= Error {
		w.errorJSON(object, t, f)
		return
	}
	w.out.seen.records++
	w.f = fields{}
	var rec Record
	var host, port string
	scanObject(object, func(key, value []byte, _ bool) bool {
		w.fieldJSON(&rec, string(key), value, &host, &port)
		return true
	})
	w.out.span.add(rec.Time)
	w.f.user, w.f.database, w.f.vxid = []byte(rec.User), []byte(rec.Database), []byte(rec.VXID)
	if key := w.sessionKey(); key != 0 {
		w.quiet([]byte(rec.Message), key)
	}
}
