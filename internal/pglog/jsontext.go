package pglog

import (
	"bytes"
	"unicode/utf8"
)

// scanObject calls visit for every key of a JSON object, with the raw value: the inside of a string, or the text of
// anything else. It stops when visit says so; false means that the text is no object as far as it was read.
func scanObject(b []byte, visit func(key, value []byte, isString bool) bool) bool {
	at := skipJSONSpace(b, 1)
	for at < len(b) && b[at] != '}' {
		if b[at] != '"' {
			return false
		}
		end := stringEnd(b, at+1)
		if end < 0 {
			return false
		}
		key := b[at+1 : end]
		at = skipJSONSpace(b, end+1)
		if at >= len(b) || b[at] != ':' {
			return false
		}
		at = skipJSONSpace(b, at+1)
		value, next, isString := jsonValue(b, at)
		if next < 0 {
			return false
		}
		if !visit(key, value, isString) {
			return true
		}
		at = skipJSONSpace(b, next)
		if at < len(b) && b[at] == ',' {
			at = skipJSONSpace(b, at+1)
		}
	}
	return at < len(b)
}

func skipJSONSpace(b []byte, at int) int {
	for at < len(b) && (b[at] == ' ' || b[at] == '\t') {
		at++
	}
	return at
}

// stringEnd finds the quote that ends a string whose inside starts at a position, -1 when there is none.
func stringEnd(b []byte, at int) int {
	for {
		i := bytes.IndexByte(b[min(at, len(b)):], '"')
		if i < 0 {
			return -1
		}
		end := at + i
		slashes := 0
		for j := end - 1; j >= 0 && b[j] == '\\'; j-- {
			slashes++
		}
		if slashes%2 == 0 {
			return end
		}
		at = end + 1
	}
}

// jsonValue reads one value; next is -1 when it does not end.
func jsonValue(b []byte, at int) (value []byte, next int, isString bool) {
	if at >= len(b) {
		return nil, -1, false
	}
	if b[at] == '"' {
		end := stringEnd(b, at+1)
		if end < 0 {
			return nil, -1, true
		}
		return b[at+1 : end], end + 1, true
	}
	if b[at] == '{' || b[at] == '[' {
		end := nestedEnd(b, at)
		if end < 0 {
			return nil, -1, false
		}
		return b[at:end], end, false
	}
	end := at
	for end < len(b) && b[end] != ',' && b[end] != '}' && b[end] != ' ' {
		end++
	}
	return b[at:end], end, false
}

func nestedEnd(b []byte, at int) int {
	depth := 0
	for i := at; i < len(b); i++ {
		switch b[i] {
		case '"':
			end := stringEnd(b, i+1)
			if end < 0 {
				return -1
			}
			i = end
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth == 0 {
				return i + 1
			}
		}
	}
	return -1
}

// unescapeJSON appends the text that the inside of a JSON string means.
func unescapeJSON(to, from []byte) []byte {
	for {
		i := bytes.IndexByte(from, '\\')
		if i < 0 || i+1 >= len(from) {
			return append(to, from...)
		}
		to = append(to, from[:i]...)
		c := from[i+1]
		from = from[i+2:]
		switch c {
		case 'n':
			to = append(to, '\n')
		case 't':
			to = append(to, '\t')
		case 'r':
			to = append(to, '\r')
		case 'b', 'f':
			to = append(to, ' ')
		case 'u':
			to, from = unescapeUnicode(to, from)
		default:
			to = append(to, c)
		}
	}
}

func unescapeUnicode(to, from []byte) ([]byte, []byte) {
	n, next, ok := parseHex(from[:min(4, len(from))], 0)
	if !ok || next < 4 {
		return append(to, '?'), from
	}
	from = from[4:]
	r := rune(n)
	if r >= 0xd800 && r < 0xdc00 && len(from) >= 6 && from[0] == '\\' && from[1] == 'u' {
		low, _, ok := parseHex(from[2:6], 0)
		if ok && low >= 0xdc00 && low < 0xe000 {
			r = (r-0xd800)<<10 + rune(low) - 0xdc00 + 0x10000
			from = from[6:]
		}
	}
	return utf8.AppendRune(to, r), from
}
