package pglog

// clockText is the date and minute of the line before: most lines repeat it, and comparing is cheaper than reading.
type clockText struct {
	text  [16]byte // "2026-11-22 10:19"
	end   int      // length of the whole time with fraction and zone
	valid bool
}

// pass steps over a time that starts like the last one.
func (c *clockText) pass(line []byte, at int) (int, bool) {
	if len(line)-at < 19 {
		return 0, false
	}
	if c.valid && string(line[at:at+16]) == string(c.text[:]) && at+c.end <= len(line) && line[at+16] == ':' &&
		digitByte(line[at+17]) && digitByte(line[at+18]) {
		return at + c.end, true
	}
	_, next, ok := parseTime(line, at)
	if !ok {
		return 0, false
	}
	copy(c.text[:], line[at:at+16])
	c.end, c.valid = next-at, true
	return next, true
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
