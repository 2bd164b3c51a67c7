package pglog

import "bytes"

// rememberedRecord is what the records of a session of csvlog or jsonlog have in common. Between its two texts stand the
// line number and the command tag, behind them the transaction ids.
type rememberedRecord struct {
	text   [192]byte // from the time to the line number
	n      int
	start  [64]byte // from the command tag to the virtual transaction id: when the session began
	startN int

	// of the chunk with this number, the entry of the session, for lines of this source
	chunk  uint32
	entry  int32
	source uint64
}

// recordForm is how csvlog or jsonlog writes what stands around the parts that change from record to record.
type recordForm struct {
	tag, xid string   // before the command tag, before the transaction id
	duration []string // behind the transaction id, when the message is a duration
}

var (
	csvForm  = recordForm{tag: `,"`, xid: `,`, duration: []string{`,LOG,00000,"duration: `}}
	jsonForm = recordForm{
		tag: `,"ps":"`, xid: `","txid":`,
		duration: []string{`,"error_severity":"LOG","message":"duration: `, `,"error_severity":"LOG","state_code":"00000","message":"duration: `},
	}
)

// recordSlot picks the place of a session by its process id, which stands behind the third comma, and what follows it. Nil
// when the record ends before.
func (w *worker) recordSlot(rest []byte) *rememberedRecord {
	if w.records == nil {
		w.records = new([rememberedSlots]rememberedRecord)
	}
	at := 0
	for range 3 {
		n := bytes.IndexByte(rest[at:], ',')
		if n < 0 {
			return nil
		}
		at += n + 1
	}
	if len(rest)-at < 16 {
		return nil
	}
	return &w.records[slotOf(rest[at:])]
}

// skimRecord is skim for a record of csvlog or jsonlog, whose time is a part of it. at is the position behind the time. It
// takes the line number and the transaction id, which are evidence.
func (w *worker) skimRecord(record []byte, from, at int, form *recordForm) bool {
	rest := record[at:]
	if w.out.span.first == 0 {
		return false
	}
	m := w.recordSlot(rest)
	if m == nil || m.chunk != w.acts.chunk || m.source != w.u.source || len(rest) < m.n || string(rest[:m.n]) != string(m.text[:m.n]) {
		return false
	}
	number, next, _ := parseUint(rest, m.n)
	if next = passTag(rest, next, form); next < 0 || !hasBytesAt(rest, next, m.start[:m.startN]) {
		return false
	}
	vxid := next + m.startN
	next = passDigits(rest, vxid)
	virtual := rest[vxid:next]
	if !hasPrefixAt(rest, next, form.xid) {
		return false
	}
	next = form.passDuration(rest, passDigits(rest, next+len(form.xid)))
	if next < 0 || bytes.IndexByte(rest[next:min(len(rest), next+maxEscaped)], '\\') >= 0 {
		return false
	}
	e := &w.acts.entries[m.entry]
	if e.act.flags&(actPending|actHealthy|actSpoke) != actHealthy|actSpoke {
		return false
	}
	e.number(int64(number))
	e.virtual(virtual)
	w.out.seen.records++
	w.keepTime(record[from:at])
	return true
}

// maxEscaped is where a message with an escape, which only the full reading resolves, has it at the latest for that to matter.
const maxEscaped = 64

// passTag steps over the command tag; -1 when it is none, or one with a quote in it.
func passTag(rest []byte, at int, form *recordForm) int {
	if !hasPrefixAt(rest, at, form.tag) {
		return -1
	}
	at += len(form.tag)
	for end := at; end < len(rest) && end-at < 64; end++ {
		if rest[end] == '"' {
			return end + 1
		}
		if rest[end] == '\\' {
			return -1
		}
	}
	return -1
}

func hasBytesAt(text []byte, at int, part []byte) bool {
	return len(text)-at >= len(part) && string(text[at:at+len(part)]) == string(part)
}

// passDigits steps over digits and the slash of a virtual transaction id.
func passDigits(text []byte, at int) int {
	for at < len(text) && text[at] >= '/' && text[at] <= '9' {
		at++
	}
	return at
}

// passDuration steps over the start of a duration's message; -1 when it is another message.
func (form *recordForm) passDuration(rest []byte, at int) int {
	for _, text := range form.duration {
		if hasPrefixAt(rest, at, text) {
			return at + len(text)
		}
	}
	return -1
}

// rememberRecord lets skimRecord know the session of a record that reported a duration. number is the position of its line
// number, at the one behind its time.
func (w *worker) rememberRecord(record []byte, at, number int, form *recordForm) {
	rest := record[at:]
	key := w.sessionKey()
	m := w.recordSlot(rest)
	if number < at || m == nil || key == 0 || w.careful {
		return
	}
	n := number - at
	_, next, ok := parseUint(rest, n)
	start := passTag(rest, next, form)
	if !ok || start < 0 || n > len(m.text) {
		return
	}
	end := start + form.startLen(rest[start:])
	if end <= start || end-start > len(m.start) {
		return
	}
	m.n, m.startN = copy(m.text[:], rest[:n]), copy(m.start[:], rest[start:end])
	m.chunk, m.source, m.entry = w.acts.chunk, w.u.source, w.acts.index(key)
}

// startLen is the length of what stands between the command tag and the virtual transaction id.
func (form *recordForm) startLen(rest []byte) int {
	if len(rest) < 2 {
		return 0
	}
	if form == &csvForm {
		return 1 + bytes.IndexByte(rest[1:], ',') + 1
	}
	i := bytes.Index(rest[:min(len(rest), 64)], keyVirtual)
	if i < 0 {
		return 0
	}
	return i + len(keyVirtual)
}

// skimCSV is skim for a csvlog record.
func (w *worker) skimCSV(record []byte) bool {
	at := w.clock.end
	if w.careful || len(record) < at+1 || at < 19 || at >= maxTime || record[at] != ',' || !w.clock.repeats(record) {
		return false
	}
	return w.skimRecord(record, 0, at, &csvForm)
}

var jsonHead = []byte(`{"timestamp":"`)

// skimJSON is skim for a jsonlog line.
func (w *worker) skimJSON(line []byte, f *flow) bool {
	if len(w.format.prefixes) > 0 || len(w.extra) > 0 || w.recent != nil || !bytes.HasPrefix(line, jsonHead) {
		return false
	}
	n := bytes.IndexByte(line[len(jsonHead):min(len(line), len(jsonHead)+maxTime)], '"')
	if n <= 0 {
		return false
	}
	if !w.skimRecord(line, len(jsonHead), len(jsonHead)+n, &jsonForm) {
		return false
	}
	f.open = false
	return true
}
