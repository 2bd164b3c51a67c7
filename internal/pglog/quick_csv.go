package pglog

import "bytes"

// quickCSV handles the usual csvlog record, one line that reports no error, without taking its fields out. False when
// anything about it is unusual: the full reading then decides.
func (w *worker) quickCSV(record []byte) bool {
	at, ok := w.clock.pass(record, 0)
	if !ok || at >= len(record) || record[at] != ',' || at >= 40 {
		return false
	}
	end := at
	w.f = fields{}
	s := csvSkipper{data: record, at: at + 1}
	user, database := s.text(), s.text()
	pid, next, ok := parseUint(record, s.at)
	if !ok || next >= len(record) || record[next] != ',' {
		return false
	}
	s.at = next + 1
	s.text() // client
	next, ok = w.f.scanSession(record, s.at)
	if !ok || s.bad || next >= len(record) || record[next] != ',' {
		return false
	}
	w.f.pid = uint32(pid)
	numberAt := next + 1
	number, next, _ := parseUint(record, numberAt)
	if next >= len(record) || record[next] != ',' {
		return false
	}
	w.f.number = int64(number)
	s.at = next + 1
	s.text() // command tag
	s.text() // session start
	w.f.vxid = s.text()
	s.text() // transaction id
	severity := s.text()
	s.text() // SQLSTATE
	if s.bad || !w.words.quiet(severity) {
		return false
	}
	message := s.message()
	if s.bad {
		return false
	}
	w.f.user, w.f.database = user, database
	w.noteText(record[:end])
	w.out.seen.records++
	w.quiet(message, w.sessionKey())
	w.rememberRecord(record, end, numberAt, &csvForm)
	return true
}

// csvSkipper steps over fields. It knows no doubled quotes: it calls them bad.
type csvSkipper struct {
	data []byte
	at   int
	bad  bool
}

// text gives the next field and steps over the comma behind it.
func (s *csvSkipper) text() []byte {
	if s.at >= len(s.data) {
		s.bad = true
		return nil
	}
	start := s.at
	if s.data[start] == '"' {
		n := bytes.IndexByte(s.data[start+1:], '"')
		end := start + 1 + n
		if n < 0 || end+1 >= len(s.data) || s.data[end+1] != ',' {
			s.bad = true
			return nil
		}
		s.at = end + 2
		return s.data[start+1 : end]
	}
	for end := start; end < len(s.data); end++ {
		switch s.data[end] {
		case ',':
			s.at = end + 1
			return s.data[start:end]
		case '"':
			s.bad = true
			return nil
		}
	}
	s.bad = true
	return nil
}

// message gives the message; of a duration, which quotes a statement, only the start.
func (s *csvSkipper) message() []byte {
	if !hasPrefixAt(s.data, s.at, `"duration: `) {
		return s.text()
	}
	head := s.data[s.at+1 : min(len(s.data), s.at+maxQuietHead)]
	for at := 0; at < len(head); {
		n := bytes.IndexByte(head[at:], '"')
		if n < 0 {
			return head
		}
		at += n
		if at+1 >= len(head) || head[at+1] != '"' {
			return head[:at]
		}
		at += 2
	}
	return head
}

// quiet tells whether a severity word stands for a level below ERROR.
func (w *words) quiet(severity []byte) bool {
	if string(severity) == "LOG" {
		return true
	}
	t, ok := w.names[string(severity)]
	return ok && t.severity < Error
}

// noteText keeps the time of the first record and of the last.
func (w *worker) noteText(text []byte) {
	w.keepTime(text)
	if w.out.span.first == 0 {
		t, _, _ := parseTime(text, 0)
		w.out.span.add(t)
	}
}
