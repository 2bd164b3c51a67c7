package pglog

import "bytes"

// duration notes that a statement of the session has succeeded.
func (w *worker) duration(message []byte, key uint64) {
	if key == 0 {
		return
	}
	n := w.acts.index(key)
	if w.hit != nil && w.hit.tells() {
		w.hit.source, w.hit.chunk, w.hit.entry = w.u.source, w.acts.chunk, n
	}
	e := &w.acts.entries[n]
	if w.f.number != 0 {
		e.number(w.f.number)
	}
	if len(w.f.vxid) > 0 {
		e.virtual(w.f.vxid)
	}
	if e.act.flags&(actPending|actHealthy|actSpoke) != actHealthy|actSpoke && !emptyStatement(message) {
		e.act.flags = e.act.flags&^actPending | actHealthy | actSpoke
	}
}

// note keeps the time of the first line, of the last, and of every error; reading it for all lines would cost more than
// all the rest.
func (w *worker) note(line []byte) {
	if w.f.time == 0 && w.f.timeAt > 0 {
		w.keepTime(line[w.f.timeAt-1 : min(len(line), w.f.timeAt-1+maxTime)])
		if w.out.span.first != 0 {
			return
		}
		w.f.time, _, _ = parseTime(line, w.f.timeAt-1)
	}
	w.out.span.add(w.f.time)
}

// maxTime is enough for any time with its zone.
const maxTime = 40

// keepTime remembers the text of a time. Without a carrier it is a part of the chunk, and need not be copied.
func (w *worker) keepTime(text []byte) {
	if w.plain {
		from := cap(w.chunk) - cap(text)
		w.lastTime = span{from: from, to: from + len(text)}
		return
	}
	w.timeRoom = append(w.timeRoom[:0], text...)
}

// quiet handles a record below ERROR: all that counts is what it says about its session.
func (w *worker) quiet(message []byte, key uint64) {
	if key == 0 {
		return
	}
	e := w.acts.entry(key)
	e.number(w.f.number)
	e.virtual(w.f.vxid)
	name := quietNote(message)
	if name == "" {
		name = w.words.findNote(message)
	}
	switch name {
	case "":
	case "ready":
		w.out.seen.restarts++
		w.out.items = append(w.out.items, item{act: activity{flags: actRestart, source: w.u.source}})
	case "connection authorized":
		e.act.note(name)
		e.act.conn = w.connection(message)
	case "duration":
		if !emptyStatement(message) {
			e.act.note(name)
		}
	default:
		e.act.note(name)
	}
}

// quietNote knows the two English messages that make up most logs.
func quietNote(message []byte) string {
	if bytes.HasPrefix(message, []byte("duration: ")) {
		return "duration"
	}
	if bytes.HasPrefix(message, []byte("statement: ")) {
		return "statement"
	}
	return ""
}

// emptyStatement tells a ping, which succeeds in an aborted transaction too: "duration: 0.1 ms  statement: -- ping".
func emptyStatement(message []byte) bool {
	if len(message) < 24 {
		return false
	}
	i := bytes.IndexByte(message[12:min(len(message), 160)], ':')
	if i < 0 {
		return false
	}
	at := skipSpaces(message, 12+i+1)
	if at >= len(message) {
		return true
	}
	return message[at] == ';' && at+1 == len(message) || message[at] == '-' && hasPrefixAt(message, at, "--")
}

// connection reads the names in a "connection authorized" message.
func (w *worker) connection(message []byte) *connection {
	c := &connection{user: known(w.f.user), database: known(w.f.database)}
	for _, key := range w.words.apps {
		if i := bytes.Index(message, []byte(key)); i >= 0 {
			app, _, _ := bytes.Cut(message[i+len(key):], []byte(" SSL enabled"))
			app, _, _ = bytes.Cut(app, []byte(" SSL "))
			c.application = string(app)
			break
		}
	}
	if c.user == "" {
		c.user = wordAfter(message, "user=")
		c.database = wordAfter(message, "database=")
	}
	return c
}

func wordAfter(message []byte, key string) string {
	_, rest, ok := bytes.Cut(message, []byte(key))
	if !ok {
		return ""
	}
	word, _, _ := bytes.Cut(rest, []byte(" "))
	return string(word)
}
