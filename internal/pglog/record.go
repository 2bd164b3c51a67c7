package pglog

// Severity is the level of a log record.
type Severity uint8

// The levels of PostgreSQL, in rising order; None is a line that is no record of its own.
const (
	None Severity = iota
	Debug
	Log
	Info
	Notice
	Warning
	Error
	Fatal
	Panic
)

// StateAborted is the SQLSTATE of "current transaction is aborted".
const StateAborted = "25P02"

// StateUnknown stands where neither the log nor the message tables tell the SQLSTATE.
const StateUnknown = "unknown"

// Program says who wrote a record.
type Program uint8

// The programs whose logs are read.
const (
	Server Program = iota
	Odoo
)

// Record is one error of a log. Texts are cut to a few kilobytes.
type Record struct {
	Program     Program
	Severity    Severity
	Line        int64  // 1-based physical line; relative to its chunk until the merge
	Time        int64  // µs since 1970 UTC, 0 unknown
	Source      string // host, pod or container that a carrier names
	PID         uint32
	User        string
	Database    string
	Application string
	Client      string
	Endpoint    string // request path or job, Odoo only
	VXID        string // "backend/local", empty unknown
	XID         uint64
	HasXID      bool
	SQLState    string
	Message     string
	Detail      string
	Hint        string
	Context     string
	Statement   string

	known    *statement // what is known of Statement, until settled
	table    string     // of the statement, once settled
	conflict string     // that the context names, once settled
	kind     Kind
	shape    uint64 // see shapeHash, 0 where the log has no virtual transaction ids
	ends     bool   // the error left no transaction behind
	settled  bool
	langs    []string // languages of the severity word, for the message tables
	torn     bool     // the last line of its input, without a line end
}

// field lengths beyond which a text is cut: enough for every catalogue message and for the start of a statement.
const (
	maxMessage   = 4 << 10
	maxStatement = 16 << 10
	maxLine      = 1 << 20
)

// appendCut joins two parts of a text with a line feed and keeps the result below limit bytes.
func appendCut(text string, part []byte, limit int) string {
	room := limit - len(text)
	if room <= 1 {
		return text
	}
	if len(part) > room-1 {
		part = part[:room-1]
	}
	if text == "" {
		return string(part)
	}
	return text + "\n" + string(part)
}

func cut(part []byte, limit int) string {
	if len(part) > limit {
		part = part[:limit]
	}
	return string(part)
}
