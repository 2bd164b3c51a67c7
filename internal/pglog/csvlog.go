package pglog

import (
	"bytes"
)

// columns of csvlog that are read.
const (
	csvTime = iota
	csvUser
	csvDatabase
	csvPID
	csvClient
	csvSession
	csvNumber
	csvTag
	csvStart
	csvVXID
	csvXID
	csvSeverity
	csvState
	csvMessage
	csvDetail
	csvHint
	csvInternalQuery
	csvInternalPosition
	csvContext
	csvQuery
	csvPosition
	csvLocation
	csvApplication
	csvColumns
)

// parseCSV walks over the records of a csvlog chunk. A record ends at the first line end outside quotes.
func (w *worker) parseCSV(c *chunk) {
	data := c.data
	for len(data) > 0 {
		n, lines := csvRecordEnd(data)
		w.begin, w.torn = w.line+1, data[n-1] != '\n'
		if lines == 1 && !w.torn && (w.skimCSV(data[:n]) || w.quickCSV(data[:n])) {
			w.line++
			data = data[n:]
			continue
		}
		record, closed := data[:n], n < len(data) || data[n-1] == '\n'
		if record[0] < '1' || record[0] > '9' || !csvStartAt(record, 0) {
			n = lineEnd(data) // rubbish, or the rest of a record that was torn
			lines = 1
			w.line++
			data = data[n:]
			continue
		}
		if lines > 1 {
			if resync := csvTorn(record); resync > 0 {
				record, n = data[:resync], resync
				lines = int64(bytes.Count(record, []byte{'\n'}))
			}
		}
		w.begin = w.line + 1
		w.torn = !closed
		w.csvRecord(trimCR(bytes.TrimSuffix(record, []byte{'\n'})))
		w.line += lines
		data = data[n:]
	}
	w.out.lines = w.line
}

func lineEnd(data []byte) int {
	if i := bytes.IndexByte(data, '\n'); i >= 0 {
		return i + 1
	}
	return len(data)
}

// csvRecordEnd gives the length of the first record with its line end, and how many lines it takes.
func csvRecordEnd(data []byte) (n int, lines int64) {
	quotes := 0
	for n < len(data) {
		i := bytes.IndexByte(data[n:], '\n')
		lines++
		if i < 0 {
			return len(data), lines
		}
		quotes += bytes.Count(data[n:n+i], []byte{'"'})
		n += i + 1
		if quotes%2 == 0 {
			return n, lines
		}
	}
	return n, lines
}

// csvStartAt tells whether a csvlog record can start at a position: a time, a comma, and commas enough behind it.
func csvStartAt(data []byte, at int) bool {
	_, next, ok := parseTime(data, at)
	return ok && next < len(data) && data[next] == ',' && next-at < 40 && csvSane(data[at:], next-at)
}

// csvSane looks at the columns up to the session id without trusting quotes.
func csvSane(data []byte, at int) bool {
	var s csvScanner
	s.data, s.at = data, at+1
	s.field() // user
	s.field() // database
	pid := s.field()
	if s.bad || len(pid) == 0 {
		return false
	}
	for _, c := range pid {
		if !digitByte(c) {
			return false
		}
	}
	s.field() // client
	session := s.field()
	return !s.bad && bytes.IndexByte(session, '.') > 0
}

// csvTorn finds the place where another record starts inside one whose quotes do not hold: something stands behind a
// closing quote. Zero when the record is sound.
func csvTorn(record []byte) int {
	s := csvScanner{data: record}
	for s.at < len(record) && !s.bad {
		s.field()
	}
	if !s.bad && s.count >= csvApplication {
		return 0
	}
	for at := lineEnd(record); at < len(record); at += lineEnd(record[at:]) {
		if csvStartAt(record, at) {
			return at
		}
	}
	return 0
}

// csvScanner reads the fields of one record.
type csvScanner struct {
	data  []byte
	at    int
	count int
	bad   bool
}

// field reads the next field; quoted pairs are resolved.
func (s *csvScanner) field() []byte {
	s.count++
	if s.at >= len(s.data) {
		s.at = len(s.data)
		return nil
	}
	if s.data[s.at] != '"' {
		start := s.at
		for s.at < len(s.data) && s.data[s.at] != ',' && s.data[s.at] != '\n' && s.data[s.at] != '"' {
			s.at++
		}
		value := s.data[start:s.at]
		s.pass()
		return value
	}
	return s.quoted()
}

func (s *csvScanner) quoted() []byte {
	s.at++
	start, doubled := s.at, false
	for {
		i := bytes.IndexByte(s.data[s.at:], '"')
		if i < 0 {
			s.bad = true
			value := s.data[start:]
			s.at = len(s.data)
			return value
		}
		s.at += i + 1
		if s.at < len(s.data) && s.data[s.at] == '"' {
			s.at++
			doubled = true
			continue
		}
		value := s.data[start : s.at-1]
		s.pass()
		if doubled {
			value = bytes.ReplaceAll(value, []byte(`""`), []byte(`"`))
		}
		return value
	}
}

// pass steps over the comma or line end behind a field.
func (s *csvScanner) pass() {
	if s.at >= len(s.data) {
		return
	}
	switch s.data[s.at] {
	case ',':
		s.at++
	case '\r', '\n':
		s.at = len(s.data)
	default:
		s.bad = true
	}
}

// csvRecord reads one record: in full when it is an error, else only what it says about its session.
func (w *worker) csvRecord(record []byte) {
	s := csvScanner{data: record}
	var cols [csvColumns][]byte
	for i := range csvMessage + 1 {
		cols[i] = s.field()
	}
	t, ok := w.words.names[string(cols[csvSeverity])]
	if !ok {
		return
	}
	w.out.seen.records++
	w.f = fields{user: cols[csvUser], database: cols[csvDatabase], vxid: cols[csvVXID]}
	pid, _, _ := parseUint(cols[csvPID], 0)
	w.f.pid = uint32(pid)
	w.f.scanSession(cols[csvSession], 0)
	n, _, _ := parseUint(cols[csvNumber], 0)
	w.f.number = int64(n)
	w.f.time, _, _ = parseTime(cols[csvTime], 0)
	w.out.span.add(w.f.time)
	key := w.sessionKey()
	if t.severity < Error {
		w.quiet(cols[csvMessage], key)
		return
	}
	for i := csvDetail; i < csvColumns; i++ {
		cols[i] = s.field()
	}
	w.csvError(&cols, t, key)
}

func (w *worker) csvError(cols *[csvColumns][]byte, t token, key uint64) {
	rec := w.out.record()
	*rec = Record{
		Severity: t.severity, Line: w.begin, Time: w.f.time, PID: w.f.pid, langs: t.langs, torn: w.torn,
		User: w.intern(cols[csvUser], maxMessage), Database: w.intern(cols[csvDatabase], maxMessage), Client: w.intern(cols[csvClient], maxMessage),
		VXID: string(cols[csvVXID]), SQLState: w.intern(cols[csvState], maxMessage),
		Message: w.intern(cols[csvMessage], maxMessage), Detail: cut(cols[csvDetail], maxMessage),
		Hint: w.intern(cols[csvHint], maxMessage), Context: cut(cols[csvContext], maxMessage),
		Application: w.intern(cols[csvApplication], maxMessage),
	}
	w.keepStatement(rec, cols[csvQuery])
	rec.XID, _, rec.HasXID = parseUint(cols[csvXID], 0)
	w.emit(rec, key)
	if rec.Severity >= Fatal && key != 0 {
		w.acts.entry(key).act.flags |= actBoundary
	}
}
