package postgres

import (
	"bytes"
	"encoding/json"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/concord-home/concord"
)

const (
	maxID        = 255 // Home Assistant's own limit on ids and states
	maxStateText = 255
)

// A timestamp outside these years is a defect of the sender; PostgreSQL would
// take some of them and show nonsense.
var (
	oldest = time.Date(1970, 1, 1, 0, 0, 0, 0, time.UTC)
	newest = time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC)
)

// whyBad says why a record can never be written, "" when it can.
func whyBad(r concord.Record) string {
	if why := whyBadText(r); why != "" || !r.HasState() {
		return why
	}
	return whyBadJSON(r.State.Attributes)
}

// whyBadText is whyBad for all but the attributes.
func whyBadText(r concord.Record) string {
	s := r.State
	switch {
	case s.EntityID == "" || len(s.EntityID) > maxID:
		return "entity id is empty or longer than 255 bytes"
	case badText(s.EntityID):
		return "entity id is not valid text"
	case len(r.RenamedFrom) > maxID || badText(r.RenamedFrom):
		return "former entity id is not valid"
	case !r.HasState():
		return ""
	case len(s.State) > maxStateText*utf8.UTFMax:
		return "state is longer than 255 characters"
	case badText(s.State):
		return "state is not valid text"
	case len(s.Context.ID) > maxID || badText(s.Context.ID):
		return "context id is not valid"
	case impossible(s.LastChanged) || impossible(s.LastUpdated):
		return "timestamp is impossible"
	}
	return ""
}

func badText(s string) bool { return !utf8.ValidString(s) || strings.IndexByte(s, 0) >= 0 }

func impossible(t time.Time) bool { return t.Before(oldest) || t.After(newest) }

var escapedNUL = []byte(`\u0000`)

func whyBadJSON(raw json.RawMessage) string {
	switch {
	case !utf8.Valid(raw):
		return "attributes are not valid UTF-8"
	case bytes.Contains(raw, escapedNUL) && holdsNUL(raw):
		return "attributes contain a NUL character"
	case len(raw) == 0 || raw[0] != '{' || !json.Valid(raw):
		return "attributes are not a JSON object"
	}
	return ""
}

// holdsNUL tells \u0000 from a backslash that is followed by the text u0000.
func holdsNUL(raw []byte) bool {
	for i := 0; i+len(escapedNUL) <= len(raw); i++ {
		if raw[i] != '\\' {
			continue
		}
		if bytes.HasPrefix(raw[i:], escapedNUL) {
			return true
		}
		i++ // the escaped character, which may be a backslash
	}
	return false
}
