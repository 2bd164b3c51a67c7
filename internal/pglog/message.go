package pglog

import (
	"regexp"
	"strings"
	"sync"
	"unicode/utf8"
)

// pattern is a message of the catalogue: literal parts with one argument between each two.
type pattern struct {
	parts []string
	state string
}

// table holds the error messages of one language, by the first bytes of their first literal.
type table struct {
	byHead  map[[3]byte][]pattern
	headed  []pattern        // start with an argument, or with fewer than three literal bytes
	atChar  []*regexp.Regexp // the position that is added to the end of a message
	partial []pattern        // all of them, for torn lines
}

var (
	tablesMu sync.Mutex
	tables   = map[string]*table{}
)

// plainQuotes is what glibc writes for signs that the encoding of a database does not have.
var plainQuotes = strings.NewReplacer("“", `"`, "”", `"`, "„", ",,", "‘", "'", "’", "'", "…", "...", "–", "-")

func loadTable(lang string) *table {
	tablesMu.Lock()
	defer tablesMu.Unlock()
	if t := tables[lang]; t != nil {
		return t
	}
	t := &table{byHead: map[[3]byte][]pattern{}}
	for _, row := range catalogRows(lang, true) {
		t.add(row[2], row[1])
		if plain := plainQuotes.Replace(row[2]); plain != row[2] {
			t.add(plain, row[1])
		}
	}
	for _, row := range catalogRows(lang, false) {
		if row[0] == "note" && row[1] == "at character" {
			head, tail, _ := strings.Cut(row[2], "%s")
			t.atChar = append(t.atChar, regexp.MustCompile(regexp.QuoteMeta(head)+`\d+`+regexp.QuoteMeta(tail)+`$`))
		}
	}
	tables[lang] = t
	return t
}

func (t *table) add(text, state string) {
	p := pattern{parts: strings.Split(text, "%s"), state: state}
	t.partial = append(t.partial, p)
	if len(p.parts[0]) < 3 {
		t.headed = append(t.headed, p)
		return
	}
	key := [3]byte([]byte(p.parts[0][:3]))
	t.byHead[key] = append(t.byHead[key], p)
}

// find gives the SQLSTATE of a message; the pattern with the most literal bytes wins.
func (t *table) find(message string) string {
	state, most := "", -1
	if len(message) >= 3 {
		state, most = bestMatch(t.byHead[[3]byte([]byte(message[:3]))], message)
	}
	if headed, n := bestMatch(t.headed, message); n > most {
		state = headed
	}
	return state
}

// withoutPosition puts before each form the same without the position at its end. The server adds it in its own language,
// also to a message that has no translation.
func withoutPosition(forms, langs []string) []string {
	var out []string
	for _, form := range forms {
		for _, lang := range langs {
			for _, position := range loadTable(lang).atChar {
				if at := position.FindStringIndex(form); at != nil {
					out = append(out, form[:at[0]])
				}
			}
		}
		out = append(out, form)
	}
	return out
}

func bestMatch(patterns []pattern, message string) (state string, most int) {
	most = -1
	for i := range patterns {
		if n := patterns[i].literal(); n > most && patterns[i].match(message) {
			state, most = patterns[i].state, n
		}
	}
	return state, most
}

func (p *pattern) literal() int {
	n := 0
	for _, part := range p.parts {
		n += len(part)
	}
	return n
}

// match tells whether message is the pattern with its arguments filled in.
func (p *pattern) match(message string) bool {
	if !strings.HasPrefix(message, p.parts[0]) {
		return false
	}
	if len(p.parts) == 1 {
		return len(message) == len(p.parts[0])
	}
	rest := message[len(p.parts[0]):]
	last := p.parts[len(p.parts)-1]
	for _, part := range p.parts[1 : len(p.parts)-1] {
		i := strings.Index(rest, part)
		if i < 0 {
			return false
		}
		rest = rest[i+len(part):]
	}
	return strings.HasSuffix(rest, last)
}

// findTorn gives the SQLSTATE when the message is the beginning of messages that all share one.
func (t *table) findTorn(message string) string {
	state := ""
	for i := range t.partial {
		head := t.partial[i].parts[0]
		if len(head) <= len(message) || !strings.HasPrefix(head, message) {
			continue
		}
		if state != "" && state != t.partial[i].state {
			return ""
		}
		state = t.partial[i].state
	}
	return state
}

// messageCache remembers what a message means; logs repeat the same few for ever.
type messageCache struct {
	known map[string]string
}

const maxCachedMessages = 4096

// minTorn is the length from which the beginning of a message is taken to mean the whole of it.
const minTorn = 12

// stateOf finds the SQLSTATE of a message in the languages that its severity word belongs to, then in English.
func (c *messageCache) stateOf(message string, langs []string, torn bool) string {
	if c.known == nil {
		c.known = make(map[string]string)
	}
	if state, ok := c.known[message]; ok && !torn {
		return state
	}
	state := findState(message, langs, torn)
	if len(c.known) < maxCachedMessages && !torn && len(message) < 200 {
		c.known[strings.Clone(message)] = state
	}
	return state
}

func findState(message string, langs []string, torn bool) string {
	langs = withEnglish(langs)
	forms := withoutPosition(readings(message, langs), langs)
	for _, lang := range langs {
		for _, form := range forms {
			if state := loadTable(lang).find(form); state != "" {
				return state
			}
		}
	}
	if !torn || len(message) < minTorn {
		return ""
	}
	for _, lang := range langs {
		for _, form := range forms {
			if state := loadTable(lang).findTorn(form); state != "" {
				return state
			}
		}
	}
	return ""
}

func withEnglish(langs []string) []string {
	out := []string{"en"}
	for _, l := range langs {
		if l != "en" {
			out = append(out, l)
		}
	}
	return out
}

// readings gives a message as it may be meant: itself when it is UTF-8, else decoded from the legacy encodings.
func readings(message string, langs []string) []string {
	forms := []string{message}
	if utf8.ValidString(message) {
		return forms
	}
	for _, lang := range langs {
		for _, enc := range legacy[lang] {
			if form, err := enc.NewDecoder().String(message); err == nil {
				forms = append(forms, form)
			}
		}
	}
	return forms
}

// knownStates is the set of SQLSTATEs that the catalogue knows.
var knownStates = sync.OnceValue(func() map[string]bool {
	known := map[string]bool{"P0001": true, "40002": true, "40003": true, "40000": true, "P0000": true}
	for _, row := range catalogRows("en", true) {
		known[row[1]] = true
	}
	return known
})
