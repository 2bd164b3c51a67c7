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

// textAttribute returns a text attribute, or "".
func textAttribute(attributes json.RawMessage, name string) string {
	if !bytes.Contains(attributes, []byte(`"`+name+`"`)) {
		return ""
	}
	var all map[string]json.RawMessage
	if json.Unmarshal(attributes, &all) != nil {
		return ""
	}
	var text string
	_ = json.Unmarshal(all[name], &text) // not text: ""
	return text
}

// nameChanged reports whether two states may give an entity different names.
// It is asked for every change, so it only compares the bytes that follow the
// attribute's name.
func nameChanged(old, new json.RawMessage) bool {
	return !bytes.Equal(rawName(old), rawName(new))
}

var nameKey = []byte(`"friendly_name":`)

func rawName(attributes []byte) []byte {
	i := bytes.Index(attributes, nameKey)
	if i < 0 {
		return nil
	}
	rest := bytes.TrimLeft(attributes[i+len(nameKey):], " ")
	for end := 1; end < len(rest); end++ {
		if rest[end] == '"' && rest[end-1] != '\\' {
			return rest[:end]
		}
	}
	return rest
}
