package pglog

import (
	"bytes"
	"fmt"
	"strings"
)

// Prefix is a compiled log_line_prefix.
type Prefix struct {
	Text    string
	ops     []op
	repeats bool // the lines of one record have the same prefix, byte for byte
	lasting bool // behind the time, so do the lines of one session
}

// op is one escape of a prefix, or a literal.
type op struct {
	escape  byte // 0 a literal, 'q' the place where background processes stop, '?' any text
	literal string
}

// free tells whether the value of an escape may hold anything.
func (o op) free() bool { return o.escape == '?' || strings.IndexByte("audhrLbi", o.escape) >= 0 }

// fields is what a prefix says about a line; byte slices point into the line.
type fields struct {
	owner    *Prefix // of the template that quick filled it for
	time     int64
	timeAt   int // position of an unread time in the line + 1, when time is 0
	pid      uint32
	leader   bool
	session  uint64 // start time and pid of %c, 0 without
	start    uint64 // hash of %s, 0 without
	number   int64  // %l, 0 without
	xid      uint64
	hasXID   bool
	user     []byte
	database []byte
	app      []byte
	client   []byte
	vxid     []byte
	state    []byte
	queryID  []byte
	backend  []byte
}

// CompilePrefix reads a log_line_prefix setting.
func CompilePrefix(text string) (*Prefix, error) {
	p := &Prefix{Text: text}
	literal := ""
	flush := func() {
		if literal != "" {
			p.ops = append(p.ops, op{literal: literal})
			literal = ""
		}
	}
	for i := 0; i < len(text); i++ {
		if text[i] != '%' {
			literal += text[i : i+1]
			continue
		}
		i++
		for i < len(text) && (text[i] == '-' || text[i] >= '0' && text[i] <= '9') {
			i++
		}
		if i >= len(text) {
			return nil, fmt.Errorf("prefix %q ends in a lone %%", text)
		}
		if text[i] == '%' {
			literal += "%"
			continue
		}
		if !strings.ContainsRune("audrhLbpPtmnieclsvxqQ", rune(text[i])) {
			return nil, fmt.Errorf("prefix %q: unknown escape %%%c", text, text[i])
		}
		flush()
		p.ops = append(p.ops, op{escape: text[i]})
	}
	flush()
	p.repeats, p.lasting = !p.has('l'), p.lasts()
	return p, nil
}

// identifies tells whether sessions can be told apart by this prefix.
func (p *Prefix) identifies() bool {
	for _, o := range p.ops {
		if o.escape == 'p' || o.escape == 'c' {
			return true
		}
	}
	return false
}

func (p *Prefix) has(escape byte) bool {
	for _, o := range p.ops {
		if o.escape == escape {
			return true
		}
	}
	return false
}

// match reads the prefix of a line and the word behind it. It gives the position behind the word and its meaning.
func (p *Prefix) match(line []byte, w *words, f *fields) (token, int, bool) {
	*f = fields{}
	steps := 200
	return p.from(0, 0, line, w, f, &steps)
}

// from matches the ops from number i at position at; it goes back to a later literal when the first does not lead to a
// known word, a bounded number of times.
func (p *Prefix) from(i, at int, line []byte, w *words, f *fields, steps *int) (token, int, bool) {
	for ; i < len(p.ops); i++ {
		o := &p.ops[i]
		switch o.escape {
		case 0:
			if !hasPrefixAt(line, at, o.literal) {
				return token{}, 0, false
			}
			at += len(o.literal)
		case 'q':
			if t, end, ok := w.tokenAt(line, at); ok {
				return t, end, true
			}
		case 'a', 'u', 'd', 'h', 'r', 'L', 'b', 'i', '?':
			return p.freeText(i, at, line, w, f, steps)
		default:
			start := skipSpaces(line, at)
			next, ok := f.scan(o.escape, line, start)
			if !ok {
				return token{}, 0, false
			}
			if next == start {
				next = at // no value, so the blanks are not its padding
			}
			if i+1 < len(p.ops) && (p.ops[i+1].escape != 0 || p.ops[i+1].literal[0] != ' ') {
				next = skipSpacesUnless(line, next, p.ops[i+1])
			}
			at = next
		}
	}
	t, end, ok := w.tokenAt(line, at)
	return t, end, ok
}

// skipSpaces passes the blanks that a padded escape (%5p) writes before its value.
func skipSpaces(line []byte, at int) int {
	for at < len(line) && line[at] == ' ' {
		at++
	}
	return at
}

// skipSpacesUnless passes the blanks behind a left-aligned value (%-5p) when the next literal is not there yet.
func skipSpacesUnless(line []byte, at int, next op) int {
	if next.escape == 0 && !hasPrefixAt(line, at, next.literal) {
		return skipSpaces(line, at)
	}
	return at
}

func hasPrefixAt(line []byte, at int, literal string) bool {
	return at <= len(line) && len(line)-at >= len(literal) && string(line[at:at+len(literal)]) == literal
}

const maxFreeText = 256

// freeText matches an escape whose value may hold anything, up to the literal that follows.
func (p *Prefix) freeText(i, at int, line []byte, w *words, f *fields, steps *int) (token, int, bool) {
	window := line[min(at, len(line)):min(at+maxFreeText, len(line))]
	literal := ""
	if i+1 < len(p.ops) && p.ops[i+1].escape == 0 {
		literal = p.ops[i+1].literal
	}
	for n := 0; n <= len(window); n++ {
		if *steps--; *steps < 0 {
			return token{}, 0, false
		}
		if literal != "" {
			j := bytes.Index(window[n:], []byte(literal))
			if j < 0 {
				return token{}, 0, false
			}
			n += j
		}
		if holdsMore(p.ops[i].escape, window[:n]) {
			return token{}, 0, false
		}
		saved := *f
		f.keep(p.ops[i].escape, bytes.TrimSpace(window[:n]))
		if t, end, ok := p.from(i+1, at+n, line, w, f, steps); ok {
			return t, end, true
		}
		*f = saved
	}
	return token{}, 0, false
}

// holdsMore tells that a name or a host has swallowed what a longer prefix says ("prod app=psql e=40001"): the setting
// was changed.
func holdsMore(escape byte, value []byte) bool {
	switch escape {
	case 'u', 'd':
		equals := bytes.IndexByte(value, '=')
		return equals > 0 && bytes.IndexByte(value[:equals], ' ') > 0
	case 'h', 'r':
		return bytes.ContainsAny(bytes.TrimSpace(value), " =")
	}
	return false
}

func (f *fields) keep(escape byte, value []byte) {
	switch escape {
	case 'u':
		f.user = value
	case 'd':
		f.database = value
	case 'a':
		f.app = value
	case 'h', 'r':
		f.client = value
	case 'b':
		f.backend = value
	}
}

// scan reads an escape of fixed form.
func (f *fields) scan(escape byte, line []byte, at int) (int, bool) {
	switch escape {
	case 't', 'm':
		t, next, ok := parseTime(line, at)
		f.time = t
		return next, ok
	case 's':
		_, next, ok := parseTime(line, at)
		if !ok { // background processes have no start time
			f.start = 0
			return at, true
		}
		f.start = hashBytes(line[at:next])
		return next, true
	case 'n':
		t, next, ok := parseEpoch(line, at)
		f.time = t
		return next, ok
	case 'p':
		n, next, ok := parseUint(line, at)
		f.pid = uint32(n)
		return next, ok
	case 'P':
		_, next, ok := parseUint(line, at)
		f.leader = ok
		return next, true
	case 'l':
		n, next, ok := parseUint(line, at)
		f.number = int64(n)
		return next, ok
	case 'x':
		n, next, ok := parseUint(line, at)
		f.xid, f.hasXID = n, ok
		return next, true
	case 'c':
		return f.scanSession(line, at)
	case 'v':
		return f.scanVXID(line, at), true
	case 'e':
		if at+5 > len(line) || !stateBytes(line[at:at+5]) {
			return at, false
		}
		f.state = line[at : at+5]
		return at + 5, true
	case 'Q':
		next := at
		if next < len(line) && line[next] == '-' {
			next++
		}
		_, next, ok := parseUint(line, next)
		f.queryID = line[at:next]
		return next, ok
	}
	return at, false
}

func (f *fields) scanSession(line []byte, at int) (int, bool) {
	start, next, ok := parseHex(line, at)
	if !ok || next >= len(line) || line[next] != '.' {
		return at, false
	}
	pid, end, ok := parseHex(line, next+1)
	if !ok {
		return at, false
	}
	f.session, f.pid = start<<32|pid, uint32(pid)
	return end, true
}

func (f *fields) scanVXID(line []byte, at int) int {
	next := at
	if next < len(line) && line[next] == '-' {
		next++
	}
	for next < len(line) && (line[next] >= '0' && line[next] <= '9' || line[next] == '/') {
		next++
	}
	if bytes.IndexByte(line[at:next], '/') < 0 {
		f.vxid = nil
		return at
	}
	f.vxid = line[at:next]
	return next
}

func stateBytes(b []byte) bool {
	for _, c := range b {
		if (c < '0' || c > '9') && (c < 'A' || c > 'Z') {
			return false
		}
	}
	return len(b) == 5
}

// tokenAt reads the word that introduces a line ("ERROR:  ") at a position. One blank is enough: some catalogues and
// some carriers leave only one.
func (w *words) tokenAt(line []byte, at int) (token, int, bool) {
	if at+4 > len(line) {
		return token{}, 0, false
	}
	if line[at] == 'L' && hasPrefixAt(line, at, "LOG:  ") {
		return logToken, at + 6, true
	}
	rest := line[at:min(at+64, len(line))]
	colon := bytes.IndexByte(rest, ':')
	if colon < 2 {
		return token{}, 0, false
	}
	t, ok := w.tokens[string(rest[:colon+1])]
	if !ok {
		return token{}, 0, false
	}
	end := at + colon + 1
	blanks := 0
	for end < len(line) && line[end] == ' ' && blanks < 2 {
		end++
		blanks++
	}
	return t, end, blanks == 2 || end == len(line) || blanks == 1 && t.kind != kindRecord
}

var logToken = token{kind: kindRecord, severity: Log, langs: []string{"en"}}
