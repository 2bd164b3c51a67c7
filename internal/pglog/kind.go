package pglog

import (
	"regexp"
	"strings"
)

// kindOf tells causes apart by the SQLSTATE first, then by what stands in the record.
func kindOf(rec *Record) Kind {
	switch {
	case rec.settled:
		return rec.kind
	case rec.SQLState == "40P01":
		return KindDeadlock
	case rec.SQLState == "55P03":
		return KindLock
	case rec.SQLState != "40001":
		return KindOther
	case rec.raised():
		return KindRaised
	}
	return serializationKind(rec)
}

// marks of the kinds of 40001 in the catalogues: the English words find the row, its translations find the message.
var kindMarks = []struct {
	kind    Kind
	english string
}{
	{KindSSI, "read/write dependencies"},
	{KindRecovery, "conflict with recovery"},
	{KindPartition, "another partition"},
	{KindDelete, "concurrent delete"},
}

func serializationKind(rec *Record) Kind {
	if strings.Contains(rec.Detail, "Reason code:") {
		return KindSSI
	}
	for _, m := range kindMarks {
		if strings.Contains(rec.Message, m.english) {
			return m.kind
		}
	}
	if contextTable(rec.Context) != "" && strings.Contains(rec.Context, "FOR KEY SHARE") {
		return KindForeign
	}
	if rec.Detail != "" && rec.Hint != "" {
		return KindSSI // only these carry both, in every language
	}
	return KindUpdate
}

var detailStatement = regexp.MustCompile(`^\D*(\d+)\D*?[:：] ?(.+)$`)

// rivalOf gives the statement of the other session that a deadlock's DETAIL quotes.
func rivalOf(rec *Record) string {
	if rec.SQLState != "40P01" {
		return ""
	}
	for line := range strings.Lines(rec.Detail) {
		m := detailStatement.FindStringSubmatch(strings.TrimSpace(line))
		if m == nil || strings.Contains(line, ";") && strings.Count(line, ".") == 1 {
			continue
		}
		pid, _, _ := parseUint([]byte(m[1]), 0)
		if uint32(pid) != rec.PID {
			return ShapeOf(m[2])
		}
	}
	return ""
}

// The words around the parentheses are translated, the row itself is not.
var (
	rowInContext = regexp.MustCompile(`\(\d+,\s?\d+\)`)
	rowInDetail  = regexp.MustCompile(`\([^()]{1,100}\)=\([^()]{1,200}\)`)
)

// rowOf gives the row that the context ("while updating tuple (0,5) in relation …") or the detail ("Key (id)=(5) already
// exists.") names, "" when none does.
func rowOf(rec *Record) string {
	if row := rowInDetail.FindString(rec.Detail); row != "" {
		return row
	}
	if !hasTuple(rec.Context) {
		return ""
	}
	return rowInContext.FindString(rec.Context)
}
