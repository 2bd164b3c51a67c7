package pglog

import (
	"bytes"
	"strings"
)

// odooLine is the header of a line of an Odoo log.
type odooLine struct {
	time    int64
	pid     uint32
	thread  []byte
	level   []byte
	db      []byte
	logger  []byte
	message []byte
}

// odooOutcome says how a step of a request or job ended.
type odooOutcome uint8

const (
	odooRetry    odooOutcome = iota + 1 // Odoo rolls back and tries again
	odooGaveUp                          // it will not try again
	odooFailed                          // an exception reached the request handler or the job runner
	odooDone                            // a request was answered
	addonChanged                        // the add-on heard of a state
	addonBatch                          // it wrote a batch
	addonRetry                          // it tries again
	addonGaveUp                         // it will not try again
)

// odooEvent is a line of an Odoo log that ends a transaction.
type odooEvent struct {
	outcome  odooOutcome
	state    string // SQLSTATE of the conflict, for retries
	database string // empty unknown
	endpoint string
	status   int      // HTTP
	time     int64    // µs
	took     int64    // µs, 0 unknown
	batch    [3]int64 // created, updated, errors
}

var odooLevels = map[string]bool{"DEBUG": true, "INFO": true, "WARNING": true, "ERROR": true, "CRITICAL": true, "RUNBOT": true}

// parseOdoo reads "2026-11-22 10:35:48,364 11634 ERROR prod odoo.sql_db: message"; the name of a thread may stand at any
// place before the logger.
func parseOdoo(line []byte, o *odooLine) bool {
	t, at, ok := parseTime(line, 0)
	if !ok || at >= len(line) || line[19] != ',' || line[at] != ' ' {
		return false
	}
	*o = odooLine{time: t}
	for n := 0; n < 12; n++ {
		at = skipSpaces(line, at)
		end := indexByteFrom(line, min(at, len(line)), ' ')
		if end < 0 {
			end = len(line)
		}
		word := stripEscapes(line[at:end])
		if len(word) == 0 {
			return false
		}
		if word[len(word)-1] == ':' && o.level != nil && o.db != nil {
			o.logger = word[:len(word)-1]
			o.message = bytes.TrimSuffix(line[min(end+1, len(line)):], []byte(" "))
			return bytes.IndexByte(o.logger, '.') > 0 || len(o.logger) > 0
		}
		o.word(word)
		at = end
	}
	return false
}

func (o *odooLine) word(word []byte) {
	pid, next, ok := parseUint(word, 0)
	switch {
	case ok && next == len(word) && o.pid == 0 && o.level == nil:
		o.pid = uint32(pid)
	case o.level == nil && odooLevels[string(word)]:
		o.level = word
	case o.level != nil && o.db == nil && !o.threadLike(word):
		o.db = word
	default:
		o.thread = append(o.thread[:len(o.thread):len(o.thread)], word...)
	}
}

// threadLike tells the name of a thread, or the rest of one in brackets, from the name of a database.
func (o *odooLine) threadLike(word []byte) bool {
	if n := len(o.thread); n > 0 && (o.thread[0] == '[' && o.thread[n-1] != ']' || bytes.Count(o.thread, []byte("(")) > bytes.Count(o.thread, []byte(")"))) {
		return true
	}
	for _, head := range []string{"[", "(", "Thread-", "MainThread", "Dummy-", "odoo.service.", "odoo.addons.bus."} {
		if bytes.HasPrefix(word, []byte(head)) {
			return true
		}
	}
	return false
}

// exceptionStates are the classes of psycopg2 that end a traceback.
var exceptionStates = map[string]string{
	"SerializationFailure": "40001", "DeadlockDetected": "40P01", "LockNotAvailable": "55P03", "InFailedSqlTransaction": "25P02",
	"UniqueViolation": "23505", "ExclusionViolation": "23P01", "QueryCanceled": "57014", "DivisionByZero": "22012",
	"UndefinedColumn": "42703", "UndefinedTable": "42P01", "RaiseException": "P0001", "ForeignKeyViolation": "23503",
	"NotNullViolation": "23502", "CheckViolation": "23514", "OperationalError": "", "TransactionRollbackError": "40001",
}

// exceptionState reads "psycopg2.errors.SerializationFailure: …".
func exceptionState(line []byte) (string, bool) {
	rest, ok := bytes.CutPrefix(line, []byte("psycopg2."))
	if !ok {
		return "", false
	}
	name, _, _ := bytes.Cut(rest, []byte(":"))
	if dot := bytes.LastIndexByte(name, '.'); dot >= 0 {
		name = name[dot+1:]
	}
	state, ok := exceptionStates[string(name)]
	return state, ok
}

// stripEscapes removes the colours that Odoo writes to a terminal.
func stripEscapes(word []byte) []byte {
	if bytes.IndexByte(word, 0x1b) < 0 {
		return word
	}
	var out []byte
	for i := 0; i < len(word); i++ {
		if word[i] == 0x1b {
			end := bytes.IndexByte(word[i:], 'm')
			if end < 0 {
				break
			}
			i += end
			continue
		}
		out = append(out, word[i])
	}
	return out
}

// event reads the lines that end a transaction; nil for any other.
func (o *odooLine) event() *odooEvent {
	logger := string(o.logger)
	message := o.message
	switch {
	case strings.HasSuffix(logger, "service.model"):
		return retryEvent(message, o.time)
	case logger == "werkzeug" || strings.HasSuffix(logger, ".werkzeug"):
		return requestEvent(message, o.time)
	case strings.HasSuffix(logger, ".http") && string(o.level) == "ERROR":
		return &odooEvent{outcome: odooFailed, time: o.time}
	case strings.HasSuffix(logger, "ir_cron"):
		return jobEvent(message, o)
	case strings.HasPrefix(logger, "odoo.addons."):
		return addonEvent(message, o.time)
	}
	return nil
}

var conflictStates = map[string]string{
	"SERIALIZATION_FAILURE": "40001", "DEADLOCK_DETECTED": "40P01", "LOCK_NOT_AVAILABLE": "55P03",
}

// retryEvent reads "SERIALIZATION_FAILURE, 4 tries left, try again in 1.1 sec... " and the older
// "SERIALIZATION_FAILURE, retry 1/5 in 0.8038 sec...".
func retryEvent(message []byte, time int64) *odooEvent {
	name, rest, ok := bytes.Cut(message, []byte(","))
	state := conflictStates[string(name)]
	if !ok || state == "" {
		return nil
	}
	if bytes.Contains(rest, []byte("maximum number of tries")) {
		return &odooEvent{outcome: odooGaveUp, state: state, time: time}
	}
	return &odooEvent{outcome: odooRetry, state: state, time: time}
}

// requestEvent reads `127.0.0.1 - - [22/Nov/2026 10:35:48] "POST /path HTTP/1.1" 200 - 6 0.001 0.004`.
func requestEvent(message []byte, time int64) *odooEvent {
	_, rest, ok := bytes.Cut(message, []byte(`] "`))
	if !ok {
		return nil
	}
	request, rest, ok := bytes.Cut(rest, []byte(`" `))
	if !ok {
		return nil
	}
	e := &odooEvent{outcome: odooDone, time: time}
	if words := bytes.Fields(request); len(words) >= 2 {
		path, _, _ := bytes.Cut(words[1], []byte("?"))
		e.endpoint = cut(path, 200)
	}
	words := bytes.Fields(rest)
	if len(words) > 0 {
		status, _, _ := parseUint(words[0], 0)
		e.status = int(status)
	}
	if len(words) >= 5 {
		e.took = seconds(words[3]) + seconds(words[4])
	}
	return e
}

// seconds reads "0.079" as µs.
func seconds(word []byte) int64 {
	n, next, ok := parseUint(word, 0)
	if !ok {
		return 0
	}
	fraction, _ := parseFraction(word, next)
	return int64(n)*1e6 + fraction
}

// jobEvent reads the lines of the job runner that a transaction cannot outlive.
func jobEvent(message []byte, o *odooLine) *odooEvent {
	if string(o.level) != "ERROR" && !bytes.Contains(message, []byte("done")) && !bytes.Contains(message, []byte("tarting")) &&
		!bytes.Contains(message, []byte("completed")) {
		return nil
	}
	e := &odooEvent{outcome: odooDone, status: 200, time: o.time}
	if string(o.level) == "ERROR" {
		e.outcome = odooFailed
	}
	for _, quote := range []string{"'", "`", `"`} {
		if _, rest, ok := bytes.Cut(message, []byte(quote)); ok {
			if name, _, ok := bytes.Cut(rest, []byte(quote)); ok {
				e.endpoint = "job " + cut(name, 120)
				break
			}
		}
	}
	return e
}

var badQuery = []byte("bad query: ")

// queryOf takes the statement out of a "bad query" message; Odoo writes it as a Python bytes literal.
func queryOf(message []byte) []byte {
	i := bytes.Index(message, badQuery)
	if i < 0 {
		return nil
	}
	q := message[i+len(badQuery):]
	if len(q) >= 3 && q[0] == 'b' && (q[1] == '\'' || q[1] == '"') {
		return unescapePython(bytes.TrimSuffix(q[2:], q[1:2]))
	}
	return q
}

func unescapePython(b []byte) []byte {
	out := make([]byte, 0, len(b))
	for i := 0; i < len(b); i++ {
		if b[i] != '\\' || i+1 >= len(b) {
			out = append(out, b[i])
			continue
		}
		i++
		switch b[i] {
		case 'n':
			out = append(out, '\n')
		case 't':
			out = append(out, '\t')
		case 'r':
			out = append(out, '\r')
		case 'x':
			n, next, ok := parseHex(b[:min(i+3, len(b))], i+1)
			if ok && next == i+3 {
				out = append(out, byte(n))
				i += 2
			}
		default:
			out = append(out, b[i])
		}
	}
	return out
}
