package pglog

import (
	"bytes"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// knownPrefixes are settings met in the wild: PostgreSQL's own default, distributions, cloud services, pgBadger's advice.
// A guess takes the one that explains most lines; anything else is inferred from the lines themselves.
var knownPrefixes = []string{
	"%m [%p] %q%u@%d ",
	"%m [%p] ",
	"%t [%p]: user=%u,db=%d,app=%a,client=%h ",
	"%t [%p]: [%l-1] user=%u,db=%d,app=%a,client=%h ",
	"%t [%p]: [%l-1] user=%u,db=%d ",
	"%m [%p]: [%l-1] user=%u,db=%d,app=%a,client=%h ",
	"%t [%p]: [%l] user=%u,db=%d,app=%a,client=%h ",
	"%t:%r:%u@%d:[%p]:",
	"%t:%r:%u@%d:[%p]:%l:%e:%s:%v:%x:%c:%q%a:",
	"%t-%c-",
	"%m [%p] %q[user=%u,db=%d,app=%a] ",
	"%m [%p]: [%l-1] db=%d,user=%u ",
	"%t [%p-%l] %q%u@%d ",
	"%m [%p] %u@%d ",
	"%m [%p] %q%u@%d/%a ",
	"%m [%p] %q%a %u@%d ",
	"%t [%p] %q%u@%d ",
	"%t [%p]: user=%u,db=%d ",
	"%m [%p]: user=%u,db=%d,app=%a,client=%h ",
	"%m [%p] user=%u,db=%d,app=%a,client=%h ",
	"%m [%p] %q%u@%d %h ",
	"%t [%p] ",
	"%t ",
	"%m ",
	"%m [%c] %q%u@%d ",
	"%m %u %d %r %c [%p] ",
	"%m [%p] %q%u@%d %e ",
	"%m [%p] %l %q%u@%d ",
	"%m [%p]: %q%u@%d ",
	"%m %p %u@%d from %h [vxid:%v txid:%x] [%i] ",
	"%m [%p] [%x] %q%u@%d ",
	"%m [%p] %q%u@%d [%x] ",
	"%m %q%u@%d %p %r ",
	"%m [%p] %q[%a] %u@%d ",
	"%n [%p] %q%u@%d ",
	"%m|%u|%d|%c|",
	"%m|%u|%d|%r|%p|%e|%x|",
	"%t %u %d %h %p %c %l ",
	"%t [%p]: [%l-1] %q%u@%d ",
	"%m [%p] %q%r %u@%d ",
	"%t %d %u %r %p %l ",
	"%c %t %u %d %h ",
	"%m:%r:%u@%d:[%p]:",
	"%m %c %l %x %v %e %q%u@%d %a %h ",
	" sql_error_code = %e ",
	"sql_error_code = %e ",
	`sql_error_code = %e time_ms = "%m" pid="%p" proc_start_time="%s" session_id="%c" vtid="%v" tid="%x" log_line="%l" %qdatabase="%d" connection_source="%r" user="%u" application_name="%a" `,
	"<%m>%p ",
	"<%t>",
	"< %m >",
	"< %t >",
	"[%p] %q%u@%d ",
	"%q%u@%d ",
	"%p %q%u@%d ",
	"",
}

// sample is the beginning of a line up to the word that introduces it.
type sample struct {
	prefix []byte
	line   []byte
	end    int
}

const (
	maxSamples     = 3000
	maxPrefixBytes = 400
	maxTemplates   = 8
)

// collectSamples takes lines apart at the first word that is a severity.
func collectSamples(lines [][]byte, w *words) []sample {
	var out []sample
	for _, line := range lines {
		if len(out) >= maxSamples {
			break
		}
		if s, ok := sampleOf(line, w); ok {
			out = append(out, s)
		}
	}
	return out
}

func sampleOf(line []byte, w *words) (sample, bool) {
	if len(line) == 0 || line[0] == '\t' || bytes.HasPrefix(line, []byte("#011")) {
		return sample{}, false
	}
	limit := min(len(line), maxPrefixBytes)
	for from := 0; from < limit; {
		i := bytes.Index(line[from:limit], []byte(": "))
		if i < 0 {
			return sample{}, false
		}
		colon := from + i
		for start := max(0, colon-48); start < colon; start++ {
			if start > 0 && wordByte(line[start-1]) && wordByte(line[start]) {
				continue
			}
			t, _, ok := w.tokenAt(line, start)
			if ok && start == 0 && t.kind != kindRecord {
				return sample{}, false // a continuation that looks like a label
			}
			if ok {
				return sample{prefix: line[:start], line: line, end: start}, true
			}
		}
		from = colon + 1
	}
	return sample{}, false
}

// guessPrefixes finds the templates that explain the sample lines, the most frequent first. Where the carrier tells the
// backend, the prefix need not.
func guessPrefixes(lines [][]byte, w *words, backendKnown bool) []*Prefix {
	samples := collectSamples(lines, w)
	var found []*Prefix
	for len(samples) > 0 && len(found) < maxTemplates {
		best, left := bestPrefix(samples, w, backendKnown)
		if best == nil || len(left) == len(samples) {
			break
		}
		found = append(found, best)
		samples = left
	}
	return found
}

// bestPrefix picks the template that matches most samples, and gives the samples that it leaves.
func bestPrefix(samples []sample, w *words, backendKnown bool) (*Prefix, []sample) {
	few := spread(samples, 80)
	best, most := winner(compiledPrefixes(), few, w, nil, 0)
	if best == nil || !best.identifies() && !backendKnown || best.explained(few, w)*20 < len(few)*19 {
		best, _ = winner(inferPrefixes(samples), few, w, best, most)
	}
	if best == nil {
		return nil, samples
	}
	var left []sample
	for _, s := range samples {
		if !best.explains(s, w) {
			left = append(left, s)
		}
	}
	return best, left
}

// spread takes samples from the whole of a list.
func spread(samples []sample, n int) []sample {
	if len(samples) <= n {
		return samples
	}
	out := make([]sample, 0, n)
	for i := range n {
		out = append(out, samples[i*len(samples)/n])
	}
	return out
}

// winner finds the candidate with the best score above the one given.
func winner(candidates []*Prefix, few []sample, w *words, best *Prefix, most int) (*Prefix, int) {
	for _, p := range candidates {
		if n := p.score(few, w); n > most {
			best, most = p, n
		}
	}
	return best, most
}

var compiledPrefixes = sync.OnceValue(func() []*Prefix { return compileAll(knownPrefixes) })

func compileAll(texts []string) []*Prefix {
	var out []*Prefix
	for _, text := range texts {
		if p, err := CompilePrefix(text); err == nil {
			out = append(out, p)
		}
	}
	return out
}

// score counts explained samples; a template that tells sessions apart, and one that names more, wins over one that
// explains the same lines with less. A value of fixed form counts more than a name, which fits anything.
func (p *Prefix) score(samples []sample, w *words) int {
	n := p.explained(samples, w)
	weight := 100
	if p.identifies() {
		weight += 400
	}
	for _, o := range p.ops {
		switch {
		case o.escape == 0 || o.escape == '?' || o.escape == 'q':
		case o.free():
			weight++
		default:
			weight += 2
		}
	}
	return n * weight
}

// explained counts the samples that the template explains.
func (p *Prefix) explained(samples []sample, w *words) int {
	n := 0
	for _, s := range samples {
		if p.explains(s, w) {
			n++
		}
	}
	return n
}

// explains tells whether the template ends exactly where the severity begins, with values that make sense.
func (p *Prefix) explains(s sample, w *words) bool {
	var f fields
	_, end, ok := p.match(s.line, w, &f)
	if !ok {
		return false
	}
	_, want, _ := w.tokenAt(s.line, s.end)
	return end == want && plainNames(&f)
}

// plainNames refuses names that a wrong template made by swallowing separators.
func plainNames(f *fields) bool {
	for _, v := range [][]byte{f.user, f.database} {
		if bytes.ContainsAny(v, " =[]|,/") && !placeholder(v) {
			return false
		}
	}
	return true
}

// placeholder tells what PostgreSQL writes for a name that it does not have yet: "[unknown]", in any language.
func placeholder(name []byte) bool {
	n := len(name)
	return n > 2 && name[0] == '[' && name[n-1] == ']' && !bytes.ContainsAny(name[1:n-1], " =[]|,0123456789")
}

// pieces of a prefix by their looks, in the order in which they are tried.
var pieceForms = []struct {
	escape byte
	form   *regexp.Regexp
}{
	{'m', regexp.MustCompile(`^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}( [A-Za-z]{2,6}| [+-]\d{2,4})?`)},
	{'t', regexp.MustCompile(`^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d( [A-Za-z]{2,6}| [+-]\d{2,4})?`)},
	{'n', regexp.MustCompile(`^\d{10}\.\d{3}\b`)},
	{'c', regexp.MustCompile(`^[0-9a-f]{8}\.[0-9a-f]{1,8}\b`)},
	{'v', regexp.MustCompile(`^-?\d+/\d+\b`)},
	{'r', regexp.MustCompile(`^((\d{1,3}\.){3}\d{1,3}|[0-9a-f]*:[0-9a-f:]+)\(\d+\)`)},
	{'h', regexp.MustCompile(`^((\d{1,3}\.){3}\d{1,3}\b|\[local\]|[0-9a-f]{0,4}:[0-9a-f:]*:[0-9a-f]+\b)`)},
	{'e', regexp.MustCompile(`^(00000|0[0-9A-Z]{4}|[1-9A-Z]{2}[0-9A-Z]{2}[0-9A-Z])\b`)},
	{'#', regexp.MustCompile(`^-?\d+`)},
	{'?', regexp.MustCompile(`^[\p{L}\p{N}_.$\-]+|^\[\p{L}[^\]\s]*\]`)},
}

// names of keys ("user=…") and the escape whose value they carry.
var keyNames = map[string]byte{
	"user": 'u', "usr": 'u', "u": 'u', "username": 'u', "db": 'd', "database": 'd', "dbname": 'd', "d": 'd',
	"app": 'a', "application": 'a', "appname": 'a', "application_name": 'a', "a": 'a', "client": 'h', "host": 'h', "h": 'h',
	"remote": 'r', "r": 'r', "rhost": 'r', "pid": 'p', "p": 'p', "session": 'c', "sid": 'c', "s": 'c', "line": 'l', "l": 'l',
	"tx": 'x', "txid": 'x', "xid": 'x', "x": 'x', "vxid": 'v', "vtx": 'v', "v": 'v', "state": 'e', "sqlstate": 'e', "e": 'e',
	"tag": 'i', "cmd": 'i', "backend": 'b', "query_id": 'Q', "queryid": 'Q', "start": 's',
}

var keyForm = regexp.MustCompile(`^([A-Za-z_]+)([=:])`)

// piece is a part of one sample's prefix.
type piece struct {
	escape byte // 0 literal, '#' a number not yet named, '?' a word not yet named
	text   string
}

// cutPieces takes one prefix apart.
func cutPieces(prefix string) []piece {
	var out []piece
	for prefix != "" {
		if m := keyForm.FindStringSubmatch(prefix); m != nil && keyNames[strings.ToLower(m[1])] != 0 {
			out = append(out, piece{text: m[0]})
			prefix = prefix[len(m[0]):]
			value := strings.IndexAny(prefix, ",; |]")
			if value < 0 {
				value = len(prefix)
			}
			out = append(out, piece{escape: keyNames[strings.ToLower(m[1])], text: prefix[:value]})
			prefix = prefix[value:]
			continue
		}
		p := nextPiece(prefix)
		out = append(out, p)
		prefix = prefix[len(p.text):]
	}
	return out
}

func nextPiece(prefix string) piece {
	for _, form := range pieceForms {
		if m := form.form.FindString(prefix); m != "" {
			return piece{escape: form.escape, text: m}
		}
	}
	return piece{text: prefix[:1]}
}

// inferPrefixes makes templates from the forms that the samples show most often.
func inferPrefixes(samples []sample) []*Prefix {
	groups := map[string][][]piece{}
	for _, s := range spread(samples, 300) {
		pieces := cutPieces(string(s.prefix))
		groups[formOf(pieces)] = append(groups[formOf(pieces)], pieces)
	}
	forms := make([]string, 0, len(groups))
	for form := range groups {
		forms = append(forms, form)
	}
	slices.SortFunc(forms, func(a, b string) int {
		if d := len(groups[b]) - len(groups[a]); d != 0 {
			return d
		}
		return strings.Compare(a, b)
	})
	var out []*Prefix
	for _, form := range forms[:min(len(forms), 6)] {
		out = append(out, inferOne(groups[form])...)
	}
	return out
}

// formOf writes pieces with their values left out, so that lines of one template look the same.
func formOf(pieces []piece) string {
	var b strings.Builder
	for _, p := range pieces {
		switch p.escape {
		case 0:
			b.WriteString(p.text)
		case 'e', '#':
			b.WriteString("\x00#")
		case 'h', '?':
			b.WriteString("\x00?")
		default:
			b.WriteByte(0)
			b.WriteByte(p.escape)
		}
	}
	return b.String()
}

// inferOne names the numbers and words of one form. Where two readings are possible it gives both; the score decides.
func inferOne(group [][]piece) []*Prefix {
	columns := len(group[0])
	escapes := make([]byte, columns)
	for i, p := range group[0] {
		escapes[i] = p.escape
	}
	nameNumbers(group, escapes)
	nameWords(group, escapes)
	nameTimes(escapes)
	return []*Prefix{buildPrefix(group[0], escapes)}
}

// nameTimes lets the second time be the session's start.
func nameTimes(escapes []byte) {
	seen := false
	for i, e := range escapes {
		if e == 'm' || e == 't' || e == 'n' {
			if seen {
				escapes[i] = 's'
			}
			seen = true
		}
	}
}

// nameWords lets word@word be user and database; a single word stays unnamed.
func nameWords(group [][]piece, escapes []byte) {
	for i, p := range group[0] {
		if p.text != "@" || p.escape != 0 || i == 0 || i+1 >= len(escapes) {
			continue
		}
		if escapes[i-1] == '?' || escapes[i-1] == '#' {
			escapes[i-1] = 'u'
		}
		if escapes[i+1] == '?' || escapes[i+1] == '#' {
			escapes[i+1] = 'd'
		}
	}
}

// nameNumbers finds pid, line number, SQLSTATE and transaction id among the columns of digits.
func nameNumbers(group [][]piece, escapes []byte) {
	session := slices.Index(escapes, byte('c'))
	pid := slices.Index(escapes, byte('p'))
	for i, e := range escapes {
		if e != '#' && e != 'e' {
			continue
		}
		switch {
		case allStates(group, i):
			escapes[i] = 'e'
		case pid < 0 && session >= 0 && equalsSession(group, i, session):
			escapes[i], pid = 'p', i
		default:
			escapes[i] = '#'
		}
	}
	if pid < 0 && session < 0 {
		pid = likelyPID(group, escapes)
	}
	for i, e := range escapes {
		if e == '#' {
			escapes[i] = nameNumber(group, i, pid, session)
		}
	}
}

func allStates(group [][]piece, column int) bool {
	zero := false
	for _, pieces := range group {
		if !stateBytes([]byte(pieces[column].text)) {
			return false
		}
		zero = zero || pieces[column].text == "00000"
	}
	return zero
}

func equalsSession(group [][]piece, column, session int) bool {
	for _, pieces := range group {
		_, hex, _ := strings.Cut(pieces[session].text, ".")
		want, _, _ := parseHex([]byte(hex), 0)
		got, next, _ := parseUint([]byte(pieces[column].text), 0)
		if want != got || next != len(pieces[column].text) {
			return false
		}
	}
	return true
}

// likelyPID prefers the column that another column counts lines for, then one in brackets, then the first that varies.
func likelyPID(group [][]piece, escapes []byte) int {
	best, most := -1, -1
	for i, e := range escapes {
		if e != '#' {
			continue
		}
		n := 0
		if i > 0 && strings.HasSuffix(group[0][i-1].text, "[") {
			n += 2
		}
		for j, other := range escapes {
			if other == '#' && j != i && countsLines(group, j, i) {
				n += 4
			}
		}
		if n > most {
			best, most = i, n
		}
	}
	if best >= 0 {
		escapes[best] = 'p'
	}
	return best
}

// countsLines tells whether a column rises from line to line of the same value of another column.
func countsLines(group [][]piece, column, by int) bool {
	last := map[string]uint64{}
	rising, pairs := 0, 0
	for _, pieces := range group {
		n, _, ok := parseUint([]byte(pieces[column].text), 0)
		key := pieces[by].text
		if old, seen := last[key]; seen && ok {
			pairs++
			if n > old && n-old < 50 {
				rising++
			}
		}
		last[key] = n
	}
	return pairs >= 3 && rising*10 >= pairs*7
}

func nameNumber(group [][]piece, column, pid, session int) byte {
	by := max(pid, session)
	if by >= 0 && countsLines(group, column, by) {
		return 'l'
	}
	zeros, large := 0, 0
	for _, pieces := range group {
		if pieces[column].text == "0" {
			zeros++
		}
		if len(pieces[column].text) > 10 {
			large++
		}
	}
	if large*2 > len(group) {
		return 'Q'
	}
	if zeros*5 > len(group) {
		return 'x'
	}
	return '?'
}

func buildPrefix(pieces []piece, escapes []byte) *Prefix {
	p := &Prefix{}
	for i, piece := range pieces {
		n := len(p.ops)
		if escapes[i] == 0 {
			p.Text += strings.ReplaceAll(piece.text, "%", "%%")
			if n > 0 && p.ops[n-1].escape == 0 {
				p.ops[n-1].literal += piece.text
			} else {
				p.ops = append(p.ops, op{literal: piece.text})
			}
			continue
		}
		p.Text += "%" + string(escapes[i])
		p.ops = append(p.ops, op{escape: escapes[i]})
	}
	return p
}
