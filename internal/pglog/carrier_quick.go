package pglog

import "bytes"

// pass steps over the time at the start of a line. A fraction may have any number of digits, so the end of the last time is
// taken only where this one has the same form.
func (u *unwrapped) pass(line []byte) (int, bool) {
	if u.clock == nil {
		_, at, ok := parseTime(line, 0)
		return at, ok
	}
	c := u.clock
	if len(line) > c.end && c.end > 20 && c.repeats(line) && line[19] == '.' && line[c.end-1] == 'Z' && allDigits(line[20:c.end-1]) {
		return c.end, true
	}
	_, at, ok := parseTime(line, 0)
	if ok {
		c.remember(line, at)
	}
	return at, ok
}

func allDigits(text []byte) bool {
	for _, c := range text {
		if !digitByte(c) {
			return false
		}
	}
	return true
}

var (
	dockerHead = []byte(`{"log":"`)
	dockerTime = []byte(`"time":"`)
	dockerTail = [][]byte{[]byte(`","stream":"stderr",`), []byte(`","stream":"stdout",`)}
)

// unwrapDocker is unwrapJSON for what docker's json-file driver writes, when the text holds no quote: it then is the only
// string that can hold an escape. False when anything is unusual.
func unwrapDocker(line []byte, u *unwrapped) bool {
	end := len(line) - 3 // before Z"}
	if end < 80 || !bytes.HasPrefix(line, dockerHead) || string(line[end:]) != `Z"}` {
		return false
	}
	for end--; end > 40 && line[end] != '"'; end-- {
		if line[end] == '\\' {
			return false
		}
	}
	end -= len(dockerTime) - 1
	if end < 40 || !bytes.HasPrefix(line[end:], dockerTime) {
		return false
	}
	end -= len(dockerTail[0])
	if tail := line[max(end, 0):]; !bytes.HasPrefix(tail, dockerTail[0]) && !bytes.HasPrefix(tail, dockerTail[1]) {
		return false
	}
	text := line[len(dockerHead):max(end, len(dockerHead))]
	if bytes.IndexByte(text, '"') >= 0 || bytes.HasSuffix(text, []byte{'\\'}) {
		return false
	}
	body, whole := bytes.CutSuffix(text, []byte(`\n`))
	if bytes.IndexByte(body, '\\') >= 0 {
		u.scratch = unescapeJSON(u.scratch[:0], text)
		body, whole = bytes.CutSuffix(u.scratch, []byte("\n"))
	}
	u.inner, u.partial = body, !whole
	return true
}
