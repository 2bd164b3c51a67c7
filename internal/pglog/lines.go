package pglog

import "bytes"

// parseLines walks over physical lines.
func (w *worker) parseLines(c *chunk) {
	for w.next = 0; w.next < len(c.data); {
		w.line++
		line := c.data[w.next:]
		n := bytes.IndexByte(line, '\n')
		w.torn = n < 0
		if w.torn {
			n = len(line)
		}
		w.next += n + 1
		line = trimCR(line[:n])
		w.begin = w.line
		if w.plain {
			w.take(line, &w.main)
			continue
		}
		w.unwrap(line)
	}
	w.out.lines = w.line
}

// peel takes the carriers off; partial tells that the next line of the source goes on with this one.
func (w *worker) peel(line []byte) (partial bool) {
	u := &w.u
	*u = unwrapped{inner: line, scratch: u.scratch, clock: u.clock}
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
	return partial
}

// unwrap takes the carriers off and joins lines that they split.
func (w *worker) unwrap(line []byte) {
	u := &w.u
	partial := w.peel(line)
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
		w.flows, w.sources = map[uint64]*flow{}, map[uint64]string{}
	}
	f := w.flows[source]
	if f == nil {
		f = &flow{}
		w.flows[source] = f
		w.sources[source] = string(name)
	}
	return f
}

// take reads one line of a log, free of its carrier.
func (w *worker) take(line []byte, f *flow) {
	if !w.careful && w.skim(line, f) {
		return
	}
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

// matchPrefix tries the templates, the one that matched last first. One whose names make no sense is taken only when no
// other matches: perhaps the setting has changed.
func (w *worker) matchPrefix(line []byte) (token, int, bool) {
	all := w.format.prefixes
	if w.last < len(all) {
		if t, end, ok := all[w.last].match(line, w.words, &w.f); ok && plainNames(&w.f) {
			return t, end, true
		}
	}
	for i, p := range all {
		if i == w.last {
			continue
		}
		if t, end, ok := p.match(line, w.words, &w.f); ok && plainNames(&w.f) {
			w.use(i)
			return t, end, true
		}
	}
	for _, p := range w.extra {
		if t, end, ok := p.match(line, w.words, &w.f); ok && plainNames(&w.f) {
			return t, end, true
		}
	}
	if w.last < len(all) {
		return all[w.last].match(line, w.words, &w.f)
	}
	return token{}, 0, false
}

// use makes a template the one that is tried first.
func (w *worker) use(i int) {
	w.last, w.lasting = i, nil
	if i < len(w.format.prefixes) && w.format.prefixes[i].lasting {
		w.lasting = w.format.prefixes[i]
	}
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
	rest := w.chunk[min(w.next, len(w.chunk)):]
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
	found := guessPrefixes(lines, w.words, w.format.trustPID)
	for _, p := range found {
		if len(w.extra) < maxTemplates {
			w.extra = append(w.extra, p)
		}
	}
	return len(found) > 0
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
