// Package scan walks JSON without building a tree of it. [End] and the
// iterators only look at strings and brackets, so that one broken value inside
// a message does not hide its neighbours; [Valid] is strict. Nothing here
// panics or recurses without bound, whatever the input.
package scan

import (
	"errors"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// ErrSyntax says that the text is not JSON.
var ErrSyntax = errors.New("not valid JSON")

// Space returns the index of the first byte at or after i that is not white space.
func Space(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\n' || b[i] == '\t' || b[i] == '\r') {
		i++
	}
	return i
}

// End returns the index just after the value that starts at i, or -1. It
// matches quotes and counts brackets; what stands between them is not checked.
func End(b []byte, i int) int {
	if i >= len(b) {
		return -1
	}
	switch b[i] {
	case '"':
		return stringEnd(b, i)
	case '{', '[':
		return nestedEnd(b, i)
	}
	start := i
	for i < len(b) && !delimiter[b[i]] {
		i++
	}
	if i == start {
		return -1
	}
	return i
}

var delimiter = [256]bool{' ': true, '\n': true, '\t': true, '\r': true, ',': true, ':': true, '}': true, ']': true, '{': true, '[': true, '"': true}

func stringEnd(b []byte, i int) int {
	for i++; i < len(b); i++ {
		switch b[i] {
		case '"':
			return i + 1
		case '\\':
			i++
		}
	}
	return -1
}

func nestedEnd(b []byte, i int) int {
	depth := 0
	for i < len(b) {
		switch b[i] {
		case '"':
			if i = stringEnd(b, i); i < 0 {
				return -1
			}
			continue
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth == 0 {
				return i + 1
			}
		}
		i++
	}
	return -1
}

// Iter walks the members of an object or the elements of an array. Use it as
// for it.Next() { … } and look at Err afterwards.
type Iter struct {
	Key   []byte // the member's name, escapes resolved; nil in an array
	Value []byte // the value's text, a part of the input

	b      []byte
	i      int
	close  byte
	object bool
	begun  bool
	err    error
}

// Object returns an iterator over the object that b holds.
func Object(b []byte) Iter { return newIter(b, '{', '}') }

// Array returns an iterator over the array that b holds.
func Array(b []byte) Iter { return newIter(b, '[', ']') }

func newIter(b []byte, open, close byte) Iter {
	it := Iter{b: b, close: close, object: open == '{'}
	it.i = Space(b, 0)
	if it.i >= len(b) || b[it.i] != open {
		it.err = ErrSyntax
		return it
	}
	it.i++
	return it
}

// Err is ErrSyntax when the walk ended before the end of the value.
func (it *Iter) Err() error { return it.err }

// Next goes to the next member or element.
func (it *Iter) Next() bool {
	if it.err != nil || it.close == 0 {
		return false
	}
	b, i := it.b, Space(it.b, it.i)
	if i < len(b) && b[i] == it.close {
		it.close = 0
		if Space(b, i+1) != len(b) {
			it.err = ErrSyntax
		}
		return false
	}
	if it.begun {
		if i >= len(b) || b[i] != ',' {
			return it.fail()
		}
		i = Space(b, i+1)
	}
	it.begun = true
	if it.object {
		if i = it.key(i); i < 0 {
			return it.fail()
		}
	}
	end := End(b, i)
	if end < 0 {
		return it.fail()
	}
	it.Value, it.i = b[i:end], end
	return true
}

func (it *Iter) key(i int) int {
	b := it.b
	if i >= len(b) || b[i] != '"' {
		return -1
	}
	end := stringEnd(b, i)
	if end < 0 {
		return -1
	}
	it.Key = b[i+1 : end-1]
	for _, c := range it.Key {
		if c == '\\' {
			if s, ok := String(b[i:end]); ok {
				it.Key = []byte(s)
			}
			break
		}
	}
	if i = Space(b, end); i >= len(b) || b[i] != ':' {
		return -1
	}
	return Space(b, i+1)
}

func (it *Iter) fail() bool {
	it.err = ErrSyntax
	return false
}

// String returns the text of a JSON string.
func String(v []byte) (string, bool) {
	if len(v) < 2 || v[0] != '"' || v[len(v)-1] != '"' {
		return "", false
	}
	v = v[1 : len(v)-1]
	for i, c := range v {
		if c == '\\' {
			return unescape(v, i)
		}
		if c < ' ' || c == '"' {
			return "", false
		}
	}
	return string(v), true
}

func unescape(v []byte, i int) (string, bool) {
	out := append(make([]byte, 0, len(v)), v[:i]...)
	for i < len(v) {
		if v[i] != '\\' {
			if v[i] < ' ' || v[i] == '"' {
				return "", false
			}
			out = append(out, v[i])
			i++
			continue
		}
		if i+1 >= len(v) {
			return "", false
		}
		if v[i+1] == 'u' {
			r, n := escapedRune(v[i:])
			if n == 0 {
				return "", false
			}
			out = utf8.AppendRune(out, r)
			i += n
			continue
		}
		c := escapes[v[i+1]]
		if c == 0 {
			return "", false
		}
		out = append(out, c)
		i += 2
	}
	return string(out), true
}

var escapes = [256]byte{'"': '"', '\\': '\\', '/': '/', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t'}

func escapedRune(v []byte) (rune, int) {
	hex := func(v []byte) (rune, bool) {
		if len(v) < 6 || v[0] != '\\' || v[1] != 'u' {
			return 0, false
		}
		n, err := strconv.ParseUint(string(v[2:6]), 16, 16)
		return rune(n), err == nil
	}
	r, ok := hex(v)
	if !ok {
		return 0, 0
	}
	if utf16.IsSurrogate(r) {
		if low, ok := hex(v[6:]); ok {
			if joined := utf16.DecodeRune(r, low); joined != utf8.RuneError {
				return joined, 12
			}
		}
		return utf8.RuneError, 6
	}
	return r, 6
}
