package hub

import (
	"bytes"
	"encoding/json"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/concord-home/concord"
)

// StripPrefix cuts prefix, the name of a device or an area, from the beginning
// of a name: "Kitchen Ceiling" is "Ceiling" in the kitchen. What is left begins
// with a capital unless its first word has one already ("iPhone"). A name that is nothing but the prefix
// stays.
func StripPrefix(name, prefix string) string {
	if prefix == "" || len(name) <= len(prefix) || !strings.EqualFold(name[:len(prefix)], prefix) {
		return name
	}
	for _, separator := range []string{" - ", ": ", " "} {
		rest, ok := strings.CutPrefix(name[len(prefix):], separator)
		if ok && rest != "" {
			return capital(rest)
		}
	}
	return name
}

func capital(s string) string {
	word, _, _ := strings.Cut(s, " ")
	if strings.IndexFunc(word, unicode.IsUpper) >= 0 {
		return s
	}
	r, size := utf8.DecodeRuneInString(s)
	return string(unicode.ToUpper(r)) + s[size:]
}

// fullName is the name that Home Assistant gives an entity.
func fullName(e *concord.Entity, st *concord.State, entityID string) string {
	if st != nil {
		if name := textAttribute(st.Attributes, "friendly_name"); name != "" {
			return name
		}
	}
	if e != nil && e.Name != "" {
		return e.Name
	}
	if e != nil && e.OriginalName != "" {
		return e.OriginalName
	}
	return entityID
}

// nameChanged reports whether two states may give an entity different names.
func nameChanged(old, new json.RawMessage) bool {
	return !bytes.Equal(old, new) && !bytes.Equal(attribute(old, "friendly_name"), attribute(new, "friendly_name"))
}
