package pglog

import (
	"bytes"
)

// chunk is a piece of an input that starts and ends at records.
type chunk struct {
	index int
	data  []byte
	last  bool // the input ends here
}

// parsed is what a worker made of a chunk.
type parsed struct {
	index int
	items []item
	lines int64
	bytes int
	span  timeSpan
	seen  seen
}

// seen collects what the log's form would have to show for better answers.
type seen struct {
	records   int64
	noSession int64 // errors whose session could not be told
	noState   int64 // errors without SQLSTATE in the log
	restarts  int
}

// timeSpan is the first and last time met.
type timeSpan struct{ first, last int64 }

func (s *timeSpan) add(t int64) {
	if t == 0 {
		return
	}
	if s.first == 0 || t < s.first {
		s.first = t
	}
	if t > s.last {
		s.last = t
	}
}

// flow is the state of one source within a chunk: what the next continuation line belongs to.
type flow struct {
	rec     *Record
	key     uint64
	part    lineKind
	open    bool       // rec takes continuation lines
	event   *odooEvent // whose traceback may follow
	partial []byte     // a line that the carrier has split
	first   int64      // physical line where partial began
}

// worker turns chunks into items. It is used by one goroutine at a time.
type worker struct {
	format  *format
	words   *words
	cache   messageCache
	acts    activities
	items   int // room for the next chunk's
	main    flow
	flows   map[uint64]*flow
	names   map[uint64]string
	last    int // template that matched last
	guesses int
	extra   []*Prefix
	out     *parsed
	line    int64
	begin   int64 // physical line where the current (joined) line began
	u       unwrapped
	f       fields
	data    []byte // of the chunk behind the current line
	recent  map[uint64]*Record
	torn    bool
	// lastTime is the text of the time of the last line
	lastTime []byte
	timeRoom []byte
	clock    clockText
	plain    bool
	// same is the prefix of the line before, whose fields w.f still holds
	same []byte
	// remembered are the prefixes of sessions, hit the one of the present line
	remembered *[rememberedSlots]remembered
	hit        *remembered
	// shared holds names and messages, which repeat in most records
	shared map[string]string
}

func newWorker(f *format) *worker {
	return &worker{format: f, words: loadWords(), remembered: new([rememberedSlots]remembered)}
}

// parse reads one chunk. The result does not depend on other chunks.
func (w *worker) parse(c *chunk) *parsed {
	w.out = &parsed{index: c.index, bytes: len(c.data), items: make([]item, 0, w.items)}
	w.acts.reset()
	w.main, w.flows, w.names, w.recent = flow{}, nil, nil, nil
	w.last, w.guesses, w.extra, w.line = 0, 0, nil, 0
	if w.format.csv {
		w.parseCSV(c)
	} else {
		w.parseLines(c)
	}
	w.finish()
	w.items = len(w.out.items) + len(w.out.items)/4
	return w.out
}

// parseLines walks over physical lines.
func (w *worker) parseLines(c *chunk) {
	data := c.data
	plain := len(w.format.layers) == 0
	w.plain, w.same = plain, nil
	for len(data) > 0 {
		w.line++
		n := bytes.IndexByte(data, '\n')
		line := data
		w.torn = n < 0
		if n >= 0 {
			line, data = data[:n], data[n+1:]
		} else {
			data = nil
		}
		w.data = data
		if n := len(line); n > 0 && line[n-1] == '\r' {
			line = line[:n-1]
		}
		w.begin = w.line
		if plain {
			w.u.source, w.u.pid, w.u.chunk, w.u.time = 0, 0, 0, 0
			w.take(line, &w.main)
			continue
		}
		w.unwrap(line)
	}
	w.out.lines = w.line
}

// unwrap takes the carriers off and joins lines that they split.
func (w *worker) unwrap(line []byte) {
	u := &w.u
	*u = unwrapped{inner: line, scratch: u.scratch}
	partial := false
	for _, layer := range w.format.layers {
		inner := u.inner
		u.partial = false
		if !layer.unwrap(inner, u) {
			u.inner = inner
		}
		partial = partial || u.partial && (layer.name != "json" || w.format.jsonNewlines)
	}
	if !w.format.trustPID && u.chunk == 0 {
		u.pid = 0
	}
	f := w.flowOf(u.source, u.name)
	switch {
	case partial:
		if f.partial == nil {
			f.first = w.line
		}
		if len(f.partial) < maxLine {
			f.partial = append(f.partial, u.inner...)
		}
	case f.partial != nil:
		joined := append(f.partial, u.inner...)
		f.partial = nil
		w.begin = f.first
		w.take(trimCR(joined), f)
	default:
		w.takeAll(trimCR(u.inner), f)
	}
}

// takeAll handles a carrier's line that holds several lines of the log.
func (w *worker) takeAll(text []byte, f *flow) {
	for {
		n := bytes.IndexByte(text, '\n')
		if n < 0 {
			w.take(text, f)
			return
		}
		w.take(trimCR(text[:n]), f)
		text = text[n+1:]
	}
}

func trimCR(line []byte) []byte {
	if n := len(line); n > 0 && line[n-1] == '\r' {
		return line[:n-1]
	}
	return line
}

func (w *worker) flowOf(source uint64, name []byte) *flow {
	if source == 0 {
		return &w.main
	}
	if w.flows == nil {
		w.flows, w.names = map[uint64]*flow{}, map[uint64]string{}
	}
	f := w.flows[source]
	if f == nil {
		f = &flow{}
		w.flows[source] = f
		w.names[source] = string(name)
	}
	return f
}

// take reads one line of a log, free of its carrier.
func (w *worker) take(line []byte, f *flow) {
	if len(line) == 0 {
		f.endOdoo()
		return
	}
	if line[0] == '\t' || line[0] == '#' && bytes.HasPrefix(line, []byte("#011")) {
		w.continued(line, f)
		return
	}
	if n := len(w.same); n > 0 && len(line) > n && line[n] != 'L' && string(line[:n]) == string(w.same) {
		if t, end := w.words.usual(line, n); t != nil { // DETAIL and the like repeat their record's prefix
			w.quickLine(line, t, end, f)
			return
		}
	}
	if w.last < len(w.format.prefixes) {
		p := w.format.prefixes[w.last]
		if t, end, at := w.usualPrefix(p, line); t != nil {
			w.same = nil
			if p.repeats && w.plain {
				w.same = line[:at]
			}
			w.quickLine(line, t, end, f)
			return
		}
	}
	w.same = nil
	if t, end, ok := w.matchPrefix(line); ok {
		w.server(line, t, end, f)
		return
	}
	w.unmatched(line, f)
}

// quickLine handles a line of which only the session is read so far. Most lines end here.
func (w *worker) quickLine(line []byte, t *token, end int, f *flow) {
	if t.kind != kindRecord {
		if f.open || w.recent != nil || w.f.number != 0 {
			w.label(line[end:], t.kind, w.sessionKey(), f)
		}
		return
	}
	if t.severity == Log && hasPrefixAt(line, end, "duration: ") {
		f.open = false
		w.out.seen.records++
		w.note(line)
		if w.recent != nil {
			delete(w.recent, w.sessionKey())
		}
		w.duration(line[end:], w.sessionKey())
		return
	}
	w.same = nil
	plain := false
	if w.hit != nil {
		w.hit.names(&w.f)
		plain = w.hit.plain
	} else {
		t, end, _ = w.format.prefixes[w.last].quick(line, w.words, &w.f, &w.clock, true)
		plain = t != nil && plainNames(&w.f)
	}
	if plain {
		w.server(line, *t, end, f)
		return
	}
	if t, end, ok := w.matchPrefix(line); ok {
		w.server(line, t, end, f)
	}
}

// duration notes that a statement of the session has succeeded.
func (w *worker) duration(message []byte, key uint64) {
	if key == 0 {
		return
	}
	e := w.acts.entry(key)
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

// matchPrefix tries the templates, the one that matched last first.
func (w *worker) matchPrefix(line []byte) (token, int, bool) {
	all := w.format.prefixes
	if w.last < len(all) {
		if t, end, ok := all[w.last].match(line, w.words, &w.f); ok {
			return t, end, true
		}
	}
	for i, p := range all {
		if i == w.last {
			continue
		}
		if t, end, ok := p.match(line, w.words, &w.f); ok && plainNames(&w.f) {
			w.last = i
			return t, end, true
		}
	}
	for _, p := range w.extra {
		if t, end, ok := p.match(line, w.words, &w.f); ok && plainNames(&w.f) {
			return t, end, true
		}
	}
	return token{}, 0, false
}

// unmatched handles a line that no template explains.
func (w *worker) unmatched(line []byte, f *flow) {
	if line[0] == '{' && w.jsonRecord(line, f) {
		return
	}
	if len(line) > 23 && (line[19] == ',' || line[0] == 0x1b) && w.odooLine(line, f) {
		return
	}
	if w.format.fixed || w.guesses >= 4 || f.event != nil || f.open && f.rec != nil && f.rec.Program == Odoo {
		w.continued(line, f)
		return
	}
	if s, ok := sampleOf(line, w.words); ok && headLike(s) {
		w.guesses++
		if w.guessMore(line) {
			if t, end, ok := w.matchPrefix(line); ok {
				w.server(line, t, end, f)
				return
			}
		}
	}
	w.continued(line, f)
}

// headLike tells a prefix from text that happens to hold a severity word: it starts like a time, a number, a bracket.
func headLike(s sample) bool {
	return len(s.prefix) == 0 || !letterByte(s.prefix[0]) && s.prefix[0] != ' ' || bytes.ContainsAny(s.prefix, "[@=")
}

// guessMore looks for further templates in the lines that follow; the setting may have changed here.
func (w *worker) guessMore(line []byte) bool {
	lines := [][]byte{line}
	rest := w.data
	for len(lines) < 200 && len(rest) > 0 {
		n := bytes.IndexByte(rest, '\n')
		if n < 0 {
			break
		}
		next := trimCR(rest[:n])
		rest = rest[n+1:]
		if inner, ok := w.format.innerOf(next); ok {
			lines = append(lines, inner)
		}
	}
	found := guessPrefixes(lines, w.words)
	for _, p := range found {
		if len(w.extra) < maxTemplates {
			w.extra = append(w.extra, p)
		}
	}
	return len(found) > 0
}

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
	rec := &Record{
		Severity: t.severity, Line: w.begin, Time: w.timeOf(), Source: w.names[w.u.source], PID: w.f.pid,
		User: w.known(w.f.user), Database: w.known(w.f.database), Application: w.known(w.f.app), Client: w.known(w.f.client),
		VXID: string(w.f.vxid), XID: w.f.xid, HasXID: w.f.hasXID, SQLState: string(state),
		Message: w.intern(message, maxMessage), langs: t.langs, torn: w.torn,
	}
	if rec.PID == 0 {
		rec.PID = w.u.pid
	}
	w.emit(rec, key)
	f.rec, f.key, f.part, f.open = rec, key, kindRecord, true
	if rec.Severity >= Fatal && key != 0 {
		w.acts.entry(key).act.flags |= actBoundary
	}
}

// note keeps the time of the first line, of the last, and of every error; reading it for all lines would cost more than
// all the rest.
func (w *worker) note(line []byte) {
	if w.f.time == 0 && w.f.timeAt > 0 {
		w.keepTime(line[w.f.timeAt-1 : min(len(line), w.f.timeAt+39)])
		if w.out.span.first != 0 {
			return
		}
		w.f.time, _, _ = parseTime(line, w.f.timeAt-1)
	}
	w.out.span.add(w.f.time)
}

// keepTime remembers the text of a time. Without a carrier the chunk stays in place until finish, so it need not be copied.
func (w *worker) keepTime(text []byte) {
	if w.plain || w.format.csv {
		w.lastTime = text
		return
	}
	w.timeRoom = append(w.timeRoom[:0], text...)
	w.lastTime = w.timeRoom
}

func (w *worker) timeOf() int64 {
	if w.f.time != 0 {
		return w.f.time
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
		return s
	}
	if w.shared == nil || len(w.shared) >= maxInterned {
		w.shared = map[string]string{}
	}
	s := string(text)
	w.shared[s] = s
	return s
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
	f.rec.append(kind, text)
}

// continued adds a continuation line to the record before it.
func (w *worker) continued(line []byte, f *flow) {
	if w.u.chunk > 1 && w.recent != nil {
		key := w.sessionKeyOfCarrier()
		if rec := w.recent[key]; rec != nil && f.key != key {
			f.rec, f.key, f.open = rec, key, true
		}
	}
	if f.event != nil && f.event.outcome == odooFailed {
		if state, ok := exceptionState(line); ok {
			f.event.state = state // the last of a chain of exceptions counts
		}
		return
	}
	if !f.open || f.rec == nil {
		return
	}
	if f.rec.Program == Odoo {
		f.rec.odooText(line, f)
		return
	}
	if line[0] == '\t' {
		line = line[1:]
	} else if bytes.HasPrefix(line, []byte("#011")) {
		line = line[4:]
	}
	f.rec.append(f.part, line)
}

func (w *worker) sessionKeyOfCarrier() uint64 {
	if w.u.pid == 0 {
		return 0
	}
	return mix(w.u.source, uint64(w.u.pid)) | 1
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
		r.Statement = appendCut(r.Statement, text, maxStatement)
	}
}

// finish settles the records and adds what the sessions said after their last error.
func (w *worker) finish() {
	if t, _, ok := parseTime(w.lastTime, 0); ok {
		w.out.span.add(t)
	}
	w.lastTime = nil
	for i := range w.out.items {
		if rec := w.out.items[i].rec; rec != nil {
			rec.settle(&w.cache, w.langsOf(rec))
		}
	}
	for i := range w.acts.entries {
		e := &w.acts.entries[i]
		if e.act != (activity{}) {
			w.out.items = append(w.out.items, item{key: e.key, act: e.take()})
		}
	}
}

// langsOf lists the languages that a record may be written in.
func (w *worker) langsOf(rec *Record) []string {
	if rec.Program == Odoo || len(rec.langs) == 0 {
		return languages
	}
	return rec.langs
}
