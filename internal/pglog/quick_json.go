package pglog

import "bytes"

// quickJSON handles the usual jsonlog line, one that reports no error, in one pass up to its message. False when anything
// about it is unusual: the full reading then decides.
func (w *worker) quickJSON(line []byte) bool {
	w.f = fields{}
	var stamp []byte
	at, quiet := 1, false
	for {
		key, value, next := quickPair(line, at)
		if next < 0 {
			return false
		}
		at = next
		switch len(key) {
		case 3:
			if string(key) == "pid" {
				n, _, _ := parseUint(value, 0)
				w.f.pid = uint32(n)
			}
		case 4:
			if string(key) == "vxid" {
				w.f.scanVXID(value, 0)
				w.f.vxid = value
			} else if string(key) == "user" {
				w.f.user = value
			}
		case 6:
			if string(key) == "dbname" {
				w.f.database = value
			}
		case 7:
			if string(key) == "message" {
				return false // before its severity
			}
		case 8:
			if string(key) == "line_num" {
				n, _, _ := parseUint(value, 0)
				w.f.number = int64(n)
			}
		case 9:
			if string(key) == "timestamp" {
				stamp = value
			}
		case 10:
			if string(key) == "session_id" {
				w.f.scanSession(value, 0)
			}
		case 14:
			if string(key) == "error_severity" {
				if !w.words.quiet(value) {
					return false
				}
				quiet = true
			}
		}
		if quiet {
			return w.quickMessage(line, at, stamp)
		}
	}
}

// quickPair reads `"key":value,` at a position; the value of a string is its inside. next is -1 for anything else, such as
// an escape, an object, or the last pair.
func quickPair(line []byte, at int) (key, value []byte, next int) {
	if at >= len(line) || line[at] != '"' {
		return nil, nil, -1
	}
	start := at + 1
	n := bytes.IndexByte(line[start:], '"')
	if n < 0 || start+n+3 > len(line) || line[start+n+1] != ':' {
		return nil, nil, -1
	}
	key, at = line[start:start+n], start+n+2
	if line[at] == '"' {
		n = bytes.IndexByte(line[at+1:], '"')
		end := at + 1 + n
		if n < 0 || end+1 >= len(line) || line[end+1] != ',' || bytes.IndexByte(line[at+1:end], '\\') >= 0 {
			return nil, nil, -1
		}
		return key, line[at+1 : end], end + 2
	}
	end := at
	for end < len(line) && line[end] != ',' {
		if line[end] < '-' || line[end] > 'z' || line[end] == '[' {
			return nil, nil, -1
		}
		end++
	}
	if end >= len(line) {
		return nil, nil, -1
	}
	return key, line[at:end], end + 1
}

// maxQuietHead is how much of a quiet message can matter: what stands before the statement it quotes.
const maxQuietHead = 256

// quickMessage notes a duration, which most lines report.
func (w *worker) quickMessage(line []byte, at int, stamp []byte) bool {
	if hasPrefixAt(line, at, `"state_code":"00000",`) {
		at += len(`"state_code":"00000",`)
	}
	if !hasPrefixAt(line, at, `"message":"duration: `) || len(stamp) == 0 {
		return false
	}
	message := line[at+len(`"message":"`):]
	head := message[:min(len(message), maxQuietHead)]
	if bytes.IndexByte(head[:min(len(head), 64)], '\\') >= 0 {
		return false
	}
	if end := stringEnd(head, 0); end >= 0 {
		head = head[:end]
	}
	w.noteText(stamp)
	w.out.seen.records++
	if key := w.sessionKey(); key != 0 {
		w.quiet(head, key)
		if n := bytes.Index(line, keyNumber); n >= 0 {
			w.rememberRecord(line, len(jsonHead)+len(stamp), n+len(keyNumber), &jsonForm)
		}
	}
	return true
}
