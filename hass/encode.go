package hass

import (
	"bytes"
	"encoding/json"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/concord-home/concord/hass/internal/scan"
)

func validText(b []byte) bool { return utf8.Valid(b) }

const hexDigits = "0123456789abcdef"

// appendString appends s as a JSON string. Invalid UTF-8 becomes U+FFFD.
func appendString(b []byte, s string) []byte {
	b = append(b, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c < utf8.RuneSelf {
			if c >= ' ' && c != '"' && c != '\\' {
				i++
				continue
			}
			b = append(b, s[start:i]...)
			b = appendEscape(b, c)
			i++
			start = i
			continue
		}
		r, size := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && size == 1 {
			b = append(append(b, s[start:i]...), "\ufffd"...)
			i++
			start = i
			continue
		}
		i += size
	}
	return append(append(b, s[start:]...), '"')
}

func appendEscape(b []byte, c byte) []byte {
	switch c {
	case '"', '\\':
		return append(b, '\\', c)
	case '\n':
		return append(b, '\\', 'n')
	case '\t':
		return append(b, '\\', 't')
	}
	return append(b, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
}

func appendAttributes(b []byte, attributes json.RawMessage) []byte {
	if len(attributes) == 0 {
		return append(b, '{', '}')
	}
	return append(b, attributes...)
}

func appendISO(b []byte, t time.Time) []byte {
	b = append(b, '"')
	b = t.UTC().AppendFormat(b, "2006-01-02T15:04:05.000000")
	return append(b, `+00:00"`...)
}

// appendSeconds appends a time as seconds since 1970 with six decimals or none.
func appendSeconds(b []byte, t time.Time) []byte {
	us := t.UnixMicro()
	if us < 0 {
		return strconv.AppendFloat(b, float64(us)/1e6, 'f', 6, 64)
	}
	b = strconv.AppendInt(b, us/1_000_000, 10)
	frac := us % 1_000_000
	if frac == 0 {
		return append(b, '.', '0')
	}
	b = append(b, '.')
	for scale := int64(100_000); scale > 0; scale /= 10 {
		b = append(b, byte('0'+frac/scale%10))
	}
	return b
}

func appendNullable(b []byte, s string) []byte {
	if s == "" {
		return append(b, "null"...)
	}
	return appendString(b, s)
}

func appendContextObject(b []byte, c Context) []byte {
	b = append(b, `{"id":`...)
	b = appendNullable(b, c.ID)
	b = append(b, `,"parent_id":`...)
	b = appendNullable(b, c.ParentID)
	b = append(b, `,"user_id":`...)
	b = appendNullable(b, c.UserID)
	return append(b, '}')
}

// AppendCompressed appends one "entity_id":{…} record of the compressed form,
// as it stands in "a" and, without the entity id, in history answers.
func AppendCompressed(b []byte, s *State) []byte {
	b = appendString(b, s.EntityID)
	b = append(b, `:{"s":`...)
	b = appendString(b, s.State)
	b = append(b, `,"a":`...)
	b = appendAttributes(b, s.Attributes)
	b = append(b, `,"c":`...)
	if s.Context.ParentID == "" && s.Context.UserID == "" {
		b = appendString(b, s.Context.ID)
	} else {
		b = appendContextObject(b, s.Context)
	}
	b = append(b, `,"lc":`...)
	b = appendSeconds(b, s.LastChanged)
	if !s.LastUpdated.Equal(s.LastChanged) {
		b = append(b, `,"lu":`...)
		b = appendSeconds(b, s.LastUpdated)
	}
	return append(b, '}')
}

// AppendAdded appends the event {"a":{…}}: these entities are there, in full.
// It is what subscribe_entities sends first, and for a new entity.
func AppendAdded(b []byte, states ...*State) []byte {
	b = append(b, `{"a":{`...)
	for i, s := range states {
		if i > 0 {
			b = append(b, ',')
		}
		b = AppendCompressed(b, s)
	}
	return append(b, '}', '}')
}

// AppendRemoved appends the event {"r":[…]}: these entities are gone.
func AppendRemoved(b []byte, entityIDs ...string) []byte {
	b = append(b, `{"r":[`...)
	for i, id := range entityIDs {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendString(b, id)
	}
	return append(b, ']', '}')
}

// AppendDiff appends the event {"c":{…}} that turns old into new, both of the
// same entity. Applied to old it gives exactly new, whatever they are.
func AppendDiff(b []byte, old, new *State) []byte {
	b = append(b, `{"c":{`...)
	b = AppendDiffRecord(b, old, new)
	return append(b, '}', '}')
}

// AppendDiffRecord appends one "entity_id":{"+":{…}} record, for events with
// several entities.
func AppendDiffRecord(b []byte, old, new *State) []byte {
	b = appendString(b, new.EntityID)
	b = append(b, `:{"+":{`...)
	start := len(b)
	if old.State != new.State {
		b = append(b, `"s":`...)
		b = appendString(b, new.State)
		b = append(b, ',')
	}
	if !old.LastChanged.Equal(new.LastChanged) {
		b = append(b, `"lc":`...)
		b = append(appendSeconds(b, new.LastChanged), ',')
	}
	if impliedUpdate(old, new) != new.LastUpdated.UnixMicro() {
		b = append(b, `"lu":`...)
		b = append(appendSeconds(b, new.LastUpdated), ',')
	}
	b = appendContextDiff(b, old.Context, new.Context)
	b, gone := appendAttributesDiff(b, old.Attributes, new.Attributes)
	if len(b) > start {
		b = b[:len(b)-1] // the last comma
	}
	b = append(b, '}')
	return append(appendGone(b, gone), '}')
}

// impliedUpdate is the LastUpdated that a reader assumes when "lu" is absent.
func impliedUpdate(old, new *State) int64 {
	if !old.LastChanged.Equal(new.LastChanged) {
		return new.LastChanged.UnixMicro()
	}
	return old.LastUpdated.UnixMicro()
}

func appendContextDiff(b []byte, old, new Context) []byte {
	if old == new {
		return b
	}
	b = append(b, `"c":`...)
	if old.ParentID == new.ParentID && old.UserID == new.UserID {
		return append(appendString(b, new.ID), ',')
	}
	b = append(b, '{')
	if old.ParentID != new.ParentID {
		b = append(b, `"parent_id":`...)
		b = append(appendNullable(b, new.ParentID), ',')
	}
	if old.UserID != new.UserID {
		b = append(b, `"user_id":`...)
		b = append(appendNullable(b, new.UserID), ',')
	}
	if old.ID != new.ID {
		b = append(b, `"id":`...)
		b = append(appendNullable(b, new.ID), ',')
	}
	b[len(b)-1] = '}'
	return append(b, ',')
}

func appendAttributesDiff(b []byte, old, new json.RawMessage) (out []byte, gone []string) {
	if bytes.Equal(old, new) {
		return b, nil
	}
	start := len(b)
	b = append(b, `"a":{`...)
	first := len(b)
	it := scan.Object(new)
	for it.Next() {
		if before, ok := member(old, it.Key); ok && bytes.Equal(before, it.Value) {
			continue
		}
		b = appendString(b, string(it.Key))
		b = append(b, ':')
		b = append(append(b, it.Value...), ',')
	}
	if len(b) == first {
		b = b[:start]
	} else {
		b[len(b)-1] = '}'
		b = append(b, ',')
	}
	for it := scan.Object(old); it.Next(); {
		if _, ok := member(new, it.Key); !ok {
			gone = append(gone, string(it.Key))
		}
	}
	return b, gone
}

func appendGone(b []byte, gone []string) []byte {
	if len(gone) == 0 {
		return b
	}
	b = append(b, `,"-":{"a":[`...)
	for i, name := range gone {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendString(b, name)
	}
	return append(b, ']', '}')
}

// member returns a member's value. Objects with many members are rare, so a
// walk is cheaper than a map.
func member(object, key []byte) ([]byte, bool) {
	it := scan.Object(object)
	for it.Next() {
		if bytes.Equal(it.Key, key) {
			return it.Value, true
		}
	}
	return nil, false
}
