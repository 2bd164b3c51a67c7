package pglog

import (
	"bytes"
)

// format is what the beginning of an input, and the caller, tell about its form.
type format struct {
	layers       []carrier
	jsonNewlines bool // the JSON carrier keeps line ends, so a text without one is split
	trustPID     bool // the carrier's pid is the backend's
	csv          bool
	fixed        bool // the caller gave the prefix; do not guess another
	shared       bool // one Odoo process serves many requests at once, and no thread is shown
	odoo         bool
	server       bool
	prefixes     []*Prefix
}

// sniff looks at the beginning of an input.
func sniff(head []byte, prefix *Prefix) *format {
	f := &format{}
	lines := headLines(head)
	inner := f.peel(lines)
	if len(f.layers) == 0 && csvLike(head) || len(f.layers) > 0 && csvLike(bytes.Join(inner, []byte{'\n'})) {
		f.csv, f.server = true, true
		return f
	}
	w := loadWords()
	if prefix != nil {
		f.prefixes, f.fixed = []*Prefix{prefix}, true
	} else {
		f.prefixes = guessPrefixes(withoutOdoo(inner), w, f.trustPID)
	}
	f.server = len(f.prefixes) > 0 || jsonLike(inner)
	f.sniffOdoo(inner)
	return f
}

func headLines(head []byte) [][]byte {
	var lines [][]byte
	for len(head) > 0 && len(lines) < 20000 {
		n := bytes.IndexByte(head, '\n')
		if n < 0 {
			if len(lines) == 0 {
				lines = append(lines, head)
			}
			break
		}
		if line := trimCR(head[:n]); len(line) > 0 {
			lines = append(lines, line)
		}
		head = head[n+1:]
	}
	return lines
}

// peel finds the carriers around the lines, outermost first, and gives the lines without them.
func (f *format) peel(lines [][]byte) [][]byte {
	for depth := 0; depth < 3; depth++ {
		layer, inner := f.outermost(lines)
		if layer == nil {
			break
		}
		f.layers = append(f.layers, *layer)
		lines = inner
	}
	return lines
}

// outermost picks the first carrier that nearly all lines have, if the lines are not a log of their own already.
func (f *format) outermost(lines [][]byte) (*carrier, [][]byte) {
	if len(lines) == 0 || mostly(lines, bareLine) {
		return nil, nil
	}
	for i := range carriers {
		c := &carriers[i]
		inner, names, newlines, pids := tryCarrier(c, lines)
		if len(inner)*10 < len(lines)*7 || c.name == "stern" && names > 64 {
			continue
		}
		if c.name == "json" {
			f.jsonNewlines = newlines
		}
		if pids > 3 {
			f.trustPID = true
		}
		return c, inner
	}
	return nil, nil
}

// tryCarrier unwraps what it can.
func tryCarrier(c *carrier, lines [][]byte) (inner [][]byte, names int, newlines bool, pids int) {
	seenNames, seenPIDs := map[uint64]bool{}, map[uint32]bool{}
	for _, line := range lines {
		var u unwrapped
		if !c.unwrap(line, &u) {
			continue
		}
		if c.name == "json" && !u.partial {
			newlines = true
		}
		if len(seenNames) < 1000 {
			seenNames[u.source] = true
		}
		if u.pid != 0 && len(seenPIDs) < 1000 {
			seenPIDs[u.pid] = true
		}
		for text := range bytes.SplitSeq(u.inner, []byte{'\n'}) {
			if len(text) > 0 {
				inner = append(inner, text)
			}
		}
	}
	return inner, len(seenNames), newlines, len(seenPIDs)
}

// bareLine tells a line of PostgreSQL or Odoo that has no carrier around it. Its time stands at the start, with a blank
// between date and time, as no carrier writes it.
func bareLine(line []byte) bool {
	if line[0] == '\t' {
		return true
	}
	_, _, ok := parseTime(line, 0)
	return ok && line[10] == ' '
}

func mostly(lines [][]byte, is func([]byte) bool) bool {
	n := 0
	for _, line := range lines {
		if is(line) {
			n++
		}
	}
	return n*2 > len(lines)
}

// csvLike tells whether the first whole record is csvlog's.
func csvLike(head []byte) bool {
	for range 50 {
		if csvStartAt(head, 0) {
			return true
		}
		n := lineEnd(head)
		if n >= len(head) {
			return false
		}
		head = head[n:]
	}
	return false
}

func jsonLike(lines [][]byte) bool {
	for _, line := range lines {
		if line[0] == '{' && bytes.Contains(line, []byte(`error_severity"`)) {
			return true
		}
	}
	return false
}

func withoutOdoo(lines [][]byte) [][]byte {
	var out [][]byte
	for _, line := range lines {
		if len(line) > 19 && line[19] == ',' || line[0] == '{' {
			continue
		}
		out = append(out, line)
	}
	return out
}

// sniffOdoo finds out whether one process serves all requests.
func (f *format) sniffOdoo(lines [][]byte) {
	pids := map[uint32]bool{}
	threads := false
	for _, line := range lines {
		var o odooLine
		if len(line) > 23 && parseOdoo(stripEscapes(line), &o) {
			f.odoo = true
			pids[o.pid] = true
			threads = threads || len(o.thread) > 0
		}
	}
	f.shared = f.odoo && len(pids) == 1 && !threads
}

// innerOf gives a line without its carriers.
func (f *format) innerOf(line []byte) ([]byte, bool) {
	var u unwrapped
	u.inner = line
	for _, layer := range f.layers {
		inner := u.inner
		if !layer.unwrap(inner, &u) {
			u.inner = inner
		}
	}
	return u.inner, len(u.inner) > 0
}

// startsRecord tells whether a chunk may begin at this line.
func (f *format) startsRecord(line []byte) bool {
	if len(f.layers) > 0 {
		inner, ok := f.innerOf(trimCR(line))
		if !ok {
			return false
		}
		line = inner
	}
	if f.csv {
		return csvStartAt(line, 0)
	}
	if len(line) == 0 || line[0] == '\t' {
		return false
	}
	if line[0] == '{' {
		return true
	}
	var fl fields
	for _, p := range f.prefixes {
		if t, _, ok := p.match(line, loadWords(), &fl); ok {
			return t.kind == kindRecord
		}
	}
	var o odooLine
	return f.odoo && parseOdoo(stripEscapes(line), &o)
}
