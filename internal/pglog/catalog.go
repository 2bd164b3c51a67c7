package pglog

import (
	"embed"
	"strings"
	"sync"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/japanese"
	"golang.org/x/text/encoding/korean"
	"golang.org/x/text/encoding/simplifiedchinese"
	"golang.org/x/text/encoding/traditionalchinese"
)

//go:embed catalog/*.txt
var catalogFiles embed.FS

// languages of the message tables. English first: it is by far the most frequent.
var languages = []string{
	"en", "de", "es", "fr", "id", "it", "ja", "ka", "ko", "pl", "pt_BR", "ru", "sv", "tr", "uk", "zh_CN", "zh_TW",
}

// legacy lists the encodings other than UTF-8 that servers write a language in, likeliest first.
var legacy = func() map[string][]encoding.Encoding {
	west := []encoding.Encoding{charmap.Windows1252, charmap.ISO8859_15}
	return map[string][]encoding.Encoding{
		"de": west, "es": west, "fr": west, "id": west, "it": west, "pt_BR": west, "sv": west,
		"pl":    {charmap.ISO8859_2, charmap.Windows1250},
		"tr":    {charmap.ISO8859_9, charmap.Windows1254},
		"ru":    {charmap.Windows1251, charmap.KOI8R, charmap.ISO8859_5, charmap.CodePage866},
		"uk":    {charmap.Windows1251, charmap.KOI8U, charmap.ISO8859_5},
		"ja":    {japanese.EUCJP, japanese.ShiftJIS},
		"ko":    {korean.EUCKR},
		"zh_CN": {simplifiedchinese.GBK, simplifiedchinese.GB18030},
		"zh_TW": {traditionalchinese.Big5},
	}
}()

// lineKind is what the word before the colon makes of a line.
type lineKind uint8

const (
	kindRecord lineKind = iota // a severity: the line starts a record
	kindDetail
	kindHint
	kindQuery
	kindContext
	kindStatement
	kindBacktrace
	kindLocation
)

var labelKinds = map[string]lineKind{
	"DETAIL": kindDetail, "HINT": kindHint, "QUERY": kindQuery, "CONTEXT": kindContext,
	"STATEMENT": kindStatement, "BACKTRACE": kindBacktrace, "LOCATION": kindLocation,
}

var severityNames = map[string]Severity{
	"DEBUG": Debug, "LOG": Log, "INFO": Info, "NOTICE": Notice, "WARNING": Warning,
	"ERROR": Error, "FATAL": Fatal, "PANIC": Panic,
}

// token is the meaning of a word that introduces a line, in any language and encoding.
type token struct {
	kind     lineKind
	severity Severity
	lang     string // "" when several languages share the word
	langs    []string
}

// note is a message that is no error, but says something about a session.
type note struct {
	name string
	head string // literal text before the first argument
	tail string // literal text after the first argument, up to the next
}

// words holds the tables that every scan needs; message tables of one language are loaded when first met.
type words struct {
	tokens map[string]token // by the text up to and including the colon
	names  map[string]token // severity words without colon, for csvlog and jsonlog
	notes  map[[2]byte][]note
	apps   []string // localised " application_name="
	// english is the meaning of "ERROR:", which some other languages write too
	english token
}

var loadWords = sync.OnceValue(func() *words {
	w := &words{tokens: map[string]token{}, names: map[string]token{}, notes: map[[2]byte][]note{}}
	for _, lang := range languages {
		for _, row := range catalogRows(lang, false) {
			w.add(lang, row)
		}
	}
	w.english = w.tokens["ERROR:"]
	return w
})

var catalogEscapes = strings.NewReplacer(`\n`, "\n", `\t`, "\t")

// catalogRows reads the rows of a language: kind, key, text. Errors stand last, so a caller that wants none stops early.
func catalogRows(lang string, errors bool) [][3]string {
	data, err := catalogFiles.ReadFile("catalog/" + lang + ".txt")
	if err != nil {
		return nil
	}
	var rows [][3]string
	for line := range strings.Lines(string(data)) {
		if isError := strings.HasPrefix(line, "error\t"); isError != errors {
			if isError {
				break
			}
			continue
		}
		parts := strings.SplitN(strings.TrimSuffix(line, "\n"), "\t", 3)
		if len(parts) != 3 {
			continue
		}
		parts[2] = catalogEscapes.Replace(parts[2])
		rows = append(rows, [3]string(parts))
	}
	return rows
}

func (w *words) add(lang string, row [3]string) {
	switch row[0] {
	case "severity":
		t := token{kind: kindRecord, severity: severityNames[row[1]]}
		w.addToken(w.tokens, lang, row[2]+":", t)
		w.addToken(w.names, lang, row[2], t)
	case "label":
		head, _, ok := strings.Cut(row[2], ":")
		if ok {
			w.addToken(w.tokens, lang, head+":", token{kind: labelKinds[row[1]]})
		}
	case "note":
		w.addNote(lang, row[1], row[2])
	}
}

func (w *words) addToken(to map[string]token, lang, text string, t token) {
	for _, form := range encodedForms(lang, text) {
		old, found := to[form]
		if !found {
			t.lang, t.langs = lang, []string{lang}
			to[form] = t
			continue
		}
		old.langs = append(old.langs, lang)
		if old.lang != lang {
			old.lang = ""
		}
		to[form] = old
	}
}

func (w *words) addNote(lang, name, text string) {
	if name == "authorized application" {
		w.apps = append(w.apps, strings.TrimSuffix(text, "%s"))
		return
	}
	head, rest, _ := strings.Cut(text, "%s")
	tail, _, _ := strings.Cut(rest, "%s")
	for _, form := range encodedForms(lang, head) {
		if len(form) < 2 {
			continue
		}
		key := [2]byte{form[0], form[1]}
		w.notes[key] = append(w.notes[key], note{name: name, head: form, tail: tail})
	}
}

// encodedForms gives a text as UTF-8 and in every legacy encoding that writes it differently.
func encodedForms(lang, text string) []string {
	forms := []string{text}
	for _, enc := range legacy[lang] {
		form, err := enc.NewEncoder().String(text)
		if err == nil && form != text {
			forms = append(forms, form)
		}
	}
	return forms
}

// findNote tells what a message that is no error says, "" when nothing of use.
func (w *words) findNote(message []byte) string {
	if len(message) < 2 {
		return ""
	}
	best, name := 0, ""
	for _, n := range w.notes[[2]byte{message[0], message[1]}] {
		if len(n.head) > best && len(message) >= len(n.head) && string(message[:len(n.head)]) == n.head {
			if n.tail != "" && !strings.Contains(string(message[len(n.head):min(len(message), 600)]), n.tail) {
				continue
			}
			best, name = len(n.head), n.name
		}
	}
	return name
}
