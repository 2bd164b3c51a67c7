package doctor

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Story is the report in words, in the order in which it is read. Text and HTML only lay it out.
type Story struct {
	Lang     string
	Title    string
	Verdict  []string
	Causes   []Cause
	More     string // how many causes are not listed
	Orphans  []string
	Chart    *Chart
	Load     []string // what the add-on's lines tell
	Advice   []Line
	Unknown  []Line
	Files    []string
	Findings []Line
	Facts    []string // of the server, whether or not they are findings
	Server   bool     // a server was asked
	Bug      string
	Width    int // columns of the terminal; 0 leaves lines as long as they are
	Height   int // lines of the terminal; a longer report repeats its first line at its end; 0 never
}

// Line is something to know and what to type against it.
type Line struct {
	Weight int
	Text   string
	Fix    string
}

// Tell puts the report into words.
func (r *Report) Tell(lang string) *Story {
	s := &Story{Lang: lang, Title: say(lang, "title")}
	if r.Logs != nil {
		r.tellLogs(s)
	}
	if r.Database != nil {
		r.tellDatabase(s)
	}
	s.Bug = r.bugReport()
	return s
}

func (r *Report) tellLogs(s *Story) {
	l := r.Logs
	s.Verdict = r.verdict(s.Lang)
	s.Causes, s.More = causes(s.Lang, l)
	s.Orphans = orphans(s.Lang, l)
	s.Chart = chart(s.Lang, l)
	s.Load = load(s.Lang, l)
	s.Advice = advice(s.Lang, l, r.Database == nil)
	s.Unknown = unknown(s.Lang, l)
	for _, f := range l.Files {
		s.Files = append(s.Files, describeFile(s.Lang, &f))
	}
}

// shorten brings a text to one line of at most n characters.
func shorten(s string, n int) string {
	runes := []rune(strings.Join(strings.Fields(s), " "))
	if len(runes) > n {
		return string(runes[:n-1]) + "…"
	}
	return string(runes)
}

// groupMark stands between groups of three digits.
const groupMark = "\u202f"

// count writes a number with thin groups: 12 345.
func count(n int64) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + groupMark + s[i:]
	}
	return s
}

func clock(t time.Time) string {
	if t.IsZero() {
		return "?"
	}
	return t.UTC().Format("2006-01-02 15:04:05 UTC")
}

// sortedKeys gives the keys with the largest numbers first.
func sortedKeys(m map[string]int64) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b string) int {
		if m[a] != m[b] {
			return int(m[b] - m[a])
		}
		return strings.Compare(a, b)
	})
	return keys
}

// counts writes "cron 175, odoo-7 37, …": the largest few of a map.
func counts(m map[string]int64, most int) string {
	var parts []string
	for _, key := range sortedKeys(m) {
		if len(parts) == most {
			parts = append(parts, "…")
			break
		}
		parts = append(parts, key+" "+count(m[key]))
	}
	return strings.Join(parts, ", ")
}
