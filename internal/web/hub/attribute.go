package hub

import "encoding/json"

// textAttribute returns a text attribute, or "".
func textAttribute(attributes json.RawMessage, name string) string {
	value := attribute(attributes, name)
	if len(value) < 2 || value[0] != '"' {
		return ""
	}
	var text string
	_ = json.Unmarshal(value, &text) // not text: ""
	return text
}

// attribute returns the value of a member of an object, encoded, or nil. It
// reads only as far as the member: registries are laid out from the attributes of
// every entity. Garbage has no members.
func attribute(object []byte, name string) []byte {
	depth, start := 0, -1 // start: of the value looked for
	for i := 0; i < len(object); i++ {
		switch object[i] {
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth == 0 && start >= 0 {
				return object[start:i]
			}
		case ',':
			if depth == 1 && start >= 0 {
				return object[start:i]
			}
		case '"':
			end := endOfString(object, i)
			if end < 0 {
				return nil
			}
			isKey := depth == 1 && start < 0 && string(object[i+1:end]) == name
			i = end
			if colon := skipSpace(object, end+1); isKey && colon < len(object) && object[colon] == ':' {
				i = skipSpace(object, colon+1)
				start = i
				i-- // the loop reads the value, too
			}
		}
	}
	return nil
}

// endOfString returns where the quote is that ends the string that begins at i.
func endOfString(b []byte, i int) int {
	for i++; i < len(b); i++ {
		switch b[i] {
		case '\\':
			i++
		case '"':
			return i
		}
	}
	return -1
}

func skipSpace(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\t' || b[i] == '\n' || b[i] == '\r') {
		i++
	}
	return i
}
