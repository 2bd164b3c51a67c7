package doctor

import (
	"strings"

	"golang.org/x/text/width"
)

// wrapLine breaks a line so that it fits into columns. The first line begins with head, the others with as many blanks.
// It breaks at blanks and between the characters of scripts that have none; a word longer than a line stays whole.
// columns 0 breaks nothing.
func wrapLine(head, text string, columns int) string {
	if columns <= 0 {
		return head + text + "\n"
	}
	indent := strings.Repeat(" ", columnsOf(head))
	room := max(columns-len(indent), 20)
	var b strings.Builder
	b.WriteString(head)
	used := 0
	for _, piece := range pieces(text) {
		if used > 0 && used+columnsOf(strings.TrimRight(piece, " ")) > room {
			b.WriteString("\n" + indent)
			used = 0
		}
		b.WriteString(piece)
		used += columnsOf(piece)
	}
	lines := strings.Split(b.String(), "\n")
	for i := range lines {
		lines[i] = strings.TrimRight(lines[i], " ")
	}
	return strings.Join(lines, "\n") + "\n"
}

// pieces cuts a text into what must stay on one line; the pieces put together are the text.
func pieces(text string) []string {
	var out []string
	start := 0
	runes := []rune(text)
	for i := 1; i < len(runes); i++ {
		afterBlank := runes[i-1] == ' ' && runes[i] != ' '
		between := (isWide(runes[i-1]) || isWide(runes[i])) && !strings.ContainsRune("。，、；：）」！？", runes[i]) &&
			!strings.ContainsRune("（「", runes[i-1]) && runes[i] != ' '
		if afterBlank || between {
			out = append(out, string(runes[start:i]))
			start = i
		}
	}
	return append(out, string(runes[start:]))
}

// columnsOf is the width of a text on a terminal.
func columnsOf(text string) int {
	n := 0
	for _, r := range text {
		n++
		if isWide(r) {
			n++
		}
	}
	return n
}

func isWide(r rune) bool {
	switch width.LookupRune(r).Kind() {
	case width.EastAsianWide, width.EastAsianFullwidth:
		return true
	}
	return false
}
