package pglog

import "encoding/binary"

// clockText is the date and minute of the line before: most lines repeat it, and comparing is cheaper than reading.
type clockText struct {
	low, high uint64 // "2026-11-22 10:19"
	end       int    // length of the whole time with fraction and zone
	zone      []byte // what stands behind the seconds and their fraction
	minute    int64  // µs since 1970
	valid     bool
}

// repeats tells whether a line of at least 19 bytes starts with the date and minute of the last one.
func (c *clockText) repeats(line []byte) bool {
	low, high := binary.LittleEndian.Uint64(line), binary.LittleEndian.Uint64(line[8:])
	return low == c.low && high == c.high && c.valid && line[16] == ':' && digitByte(line[17]) && digitByte(line[18])
}

// pass steps over a time that starts like the last one.
func (c *clockText) pass(line []byte, at int) (int, bool) {
	if len(line)-at < 19 {
		return 0, false
	}
	text := line[at : at+19]
	if at+c.end <= len(line) && c.repeats(text) {
		return at + c.end, true
	}
	t, next, ok := parseTime(line, at)
	if !ok {
		return 0, false
	}
	c.remember(text, next-at)
	fraction, zone := parseFraction(line, at+19)
	second, _ := digits(line, at+17, 2)
	c.minute, c.zone = t-fraction-int64(second)*1e6, append(c.zone, line[zone:next]...)
	return next, true
}

// remember lets repeats know a time; minute and zone are left to the caller.
func (c *clockText) remember(text []byte, end int) {
	low, high := binary.LittleEndian.Uint64(text), binary.LittleEndian.Uint64(text[8:])
	*c = clockText{low: low, high: high, end: end, zone: c.zone[:0], valid: true}
}

// time reads a time that pass has stepped over.
func (c *clockText) time(text []byte) int64 {
	if len(text) >= 19 && c.valid && binary.LittleEndian.Uint64(text) == c.low && binary.LittleEndian.Uint64(text[8:]) == c.high {
		fraction, zone := parseFraction(text, 19)
		second, ok := digits(text, 17, 2)
		if ok && zone+len(c.zone) == c.end && c.end <= len(text) && string(text[zone:c.end]) == string(c.zone) {
			return c.minute + int64(second)*1e6 + fraction
		}
	}
	t, _, _ := parseTime(text, 0)
	return t
}

// quick matches the usual line without going back: each text ends at the first literal that follows. It reads only what
// tells the session, and the names too when full is set. When it fails, match decides.
func (p *Prefix) quick(line []byte, w *words, f *fields, clock *clockText, full bool) (t *token, end, at int) {
	if f.owner != p {
		*f = fields{owner: p}
	}
	f.time = 0
	for i := range p.ops {
		o := &p.ops[i]
		switch o.escape {
		case 0:
			n := len(o.literal)
			if len(line)-at < n || line[at] != o.literal[0] || n > 1 && line[at+1] != o.literal[1] ||
				n > 2 && string(line[at+2:at+n]) != o.literal[2:] {
				return nil, 0, 0
			}
			at += n
		case 't', 'm':
			next, ok := clock.pass(line, at)
			if !ok {
				return nil, 0, 0
			}
			f.timeAt, at = at+1, next
		case 'p':
			n, start := uint32(0), at
			for at < len(line) && line[at]-'0' < 10 {
				n = n*10 + uint32(line[at]-'0')
				at++
			}
			if at == start {
				return nil, 0, 0
			}
			f.pid = n
		case 'q':
			if at < len(line) && mayStartToken(line[at]) {
				return nil, 0, 0 // perhaps a background process, perhaps a name: match looks closer
			}
		case 'u', 'd', 'a', 'h', 'r', 'b', 'i', 'L':
			end := p.textEnd(i, line, at)
			if end < 0 {
				return nil, 0, 0
			}
			if full {
				f.keep(o.escape, line[at:end])
			}
			at = end
		case '?':
			return nil, 0, 0
		default:
			next, ok := f.scan(o.escape, line, at)
			if !ok {
				return nil, 0, 0
			}
			at = next
		}
	}
	t, end = w.usual(line, at)
	return t, end, at
}

// remembered is what the bytes between the time and the word of a line mean: the same in all lines of a session, as long
// as the prefix holds nothing else that changes.
type remembered struct {
	owner                *Prefix
	n                    int // length
	text                 [maxRemembered + 8]byte
	pid                  uint32
	session, start       uint64
	user, database       []byte // in text
	app, client, backend []byte
	plain                bool   // see plainNames
	shared               *names // of the above, nil until an error asks for them

	// of the chunk with this number, the entry of the session, for lines of this source
	chunk  uint32
	entry  int32
	source uint64
}

const maxRemembered = 96

// begins tells whether a text of at least 8 bytes more than the remembered one begins with it.
func (m *remembered) begins(text []byte) bool {
	at := 0
	for ; at+8 <= m.n; at += 8 {
		if binary.LittleEndian.Uint64(text[at:]) != binary.LittleEndian.Uint64(m.text[at:]) {
			return false
		}
	}
	differ := binary.LittleEndian.Uint64(text[at:]) ^ binary.LittleEndian.Uint64(m.text[at:])
	return differ<<(64-8*(m.n-at)) == 0
}

// tells says whether the text alone tells the session.
func (m *remembered) tells() bool { return m.session != 0 || m.pid != 0 }

// rememberedSlots is the number of sessions that a worker remembers; one more takes the place of another.
const (
	rememberedBits  = 10
	rememberedSlots = 1 << rememberedBits
)

// lasts tells whether all behind the time stays the same within a session.
func (p *Prefix) lasts() bool {
	if len(p.ops) < 2 || p.ops[0].escape != 't' && p.ops[0].escape != 'm' {
		return false
	}
	for _, o := range p.ops[1:] {
		switch o.escape {
		case 0, 'p', 'c', 's', 'q', 'u', 'd', 'a', 'h', 'r', 'b', 'i':
		default:
			return false
		}
	}
	return true
}

// usualPrefix reads the prefix as quick does, but most sessions from memory.
func (w *worker) usualPrefix(p *Prefix, line []byte) (t *token, end, at int) {
	w.hit = nil
	if !p.lasting {
		return p.quick(line, w.words, &w.f, &w.clock, false)
	}
	at, ok := w.clock.pass(line, 0)
	if !ok || len(line)-at < 16 {
		return p.quick(line, w.words, &w.f, &w.clock, false)
	}
	rest := line[at:]
	m := &w.remembered[slotOf(rest)]
	if m.owner == p && len(rest) > m.n && string(rest[:m.n]) == string(m.text[:m.n]) {
		w.hit = m
		if w.f.owner != p {
			w.f = fields{owner: p}
		}
		w.f.time, w.f.timeAt, w.f.pid, w.f.session, w.f.start = 0, 1, m.pid, m.session, m.start
		t, end = w.words.usual(line, at+m.n)
		return t, end, at + m.n
	}
	from := at
	if t, end, at = p.quick(line, w.words, &w.f, &w.clock, true); t != nil && at-from <= maxRemembered {
		m.keep(p, line[from:at], &w.f)
		w.hit = m
	}
	return t, end, at
}

func slotOf(text []byte) uint64 {
	return (binary.LittleEndian.Uint64(text)*0x9e3779b97f4a7c15 ^ binary.LittleEndian.Uint64(text[8:])*0xbf58476d1ce4e5b9) >> (64 - rememberedBits)
}

func (m *remembered) keep(p *Prefix, text []byte, f *fields) {
	m.owner, m.n = p, copy(m.text[:], text)
	m.pid, m.session, m.start, m.chunk, m.shared = f.pid, f.session, f.start, 0, nil
	own := func(part []byte) []byte {
		if part == nil {
			return nil
		}
		at := cap(text) - cap(part) // both are parts of the line
		return m.text[at : at+len(part)]
	}
	m.user, m.database, m.app, m.client, m.backend = own(f.user), own(f.database), own(f.app), own(f.client), own(f.backend)
	m.plain = plainNames(f)
}

func (m *remembered) names(f *fields) {
	f.user, f.database, f.app, f.client, f.backend = m.user, m.database, m.app, m.client, m.backend
}

// mayStartToken tells whether a severity word can begin with the byte.
func mayStartToken(c byte) bool { return c >= 'A' && c <= 'Z' || c >= 0x80 }

// textEnd finds the first byte of the literal behind a text, -1 when there is none near.
func (p *Prefix) textEnd(i int, line []byte, at int) int {
	if i+1 >= len(p.ops) || p.ops[i+1].escape != 0 {
		return -1
	}
	first := p.ops[i+1].literal[0]
	for end := at; end < len(line) && end-at < maxFreeText; end++ {
		if line[end] == first {
			return end
		}
	}
	return -1
}

// tokens of the usual English words.
var (
	detailToken    = token{kind: kindDetail}
	hintToken      = token{kind: kindHint}
	contextToken   = token{kind: kindContext}
	statementToken = token{kind: kindStatement}
)

// usual reads the word behind the prefix, the frequent English ones without a look-up. Nil when there is none.
func (w *words) usual(line []byte, at int) (*token, int) {
	if len(line)-at < 11 {
		return w.rare(line, at)
	}
	switch line[at] {
	case 'L':
		if string(line[at:at+6]) == "LOG:  " {
			return &logToken, at + 6
		}
	case 'D':
		if string(line[at:at+9]) == "DETAIL:  " {
			return &detailToken, at + 9
		}
	case 'S':
		if string(line[at:at+11]) == "STATEMENT: " {
			return &statementToken, skipSpaces(line, at+11)
		}
	case 'H':
		if string(line[at:at+7]) == "HINT:  " {
			return &hintToken, at + 7
		}
	case 'E':
		if string(line[at:at+8]) == "ERROR:  " {
			return &w.english, at + 8
		}
	case 'C':
		if string(line[at:at+10]) == "CONTEXT:  " {
			return &contextToken, at + 10
		}
	}
	return w.rare(line, at)
}

func (w *words) rare(line []byte, at int) (*token, int) {
	t, end, ok := w.tokenAt(line, at)
	if !ok {
		return nil, 0
	}
	return &t, end
}
