package doctor

import (
	"embed"
	"fmt"
	"strconv"
	"strings"
	"sync"
)

//go:embed words/*.txt
var wordFiles embed.FS

// Languages of the report.
var Languages = []string{"en", "zh-Hant", "ru"}

// words are the texts of one language: key → text. %s stands for an argument, %% for a per cent sign, and [a|b] for the
// form that fits the number of the argument before it: one and other in English; one, few and many in Russian.
type words map[string]string

var loadWords = sync.OnceValue(func() map[string]words {
	all := map[string]words{}
	for _, lang := range Languages {
		all[lang] = parseWords(lang)
	}
	return all
})

// parseWords reads "key = text" lines.
func parseWords(lang string) words {
	data, err := wordFiles.ReadFile("words/" + lang + ".txt")
	if err != nil {
		return nil
	}
	w := words{}
	for line := range strings.Lines(string(data)) {
		key, text, ok := strings.Cut(strings.TrimSpace(line), " = ")
		if ok && !strings.HasPrefix(key, "#") {
			w[key] = text
		}
	}
	return w
}

// LanguageOf picks the language of a locale such as "zh_TW.UTF-8"; English when it is none of ours.
func LanguageOf(locale string) string {
	switch {
	case strings.HasPrefix(locale, "ru"):
		return "ru"
	case strings.HasPrefix(locale, "zh"):
		return "zh-Hant"
	}
	return "en"
}

// say fills a text. A missing one falls back to English, then to its key, so that nothing is left out silently.
func say(lang, key string, args ...any) string {
	text, ok := loadWords()[lang][key]
	if !ok {
		if text, ok = loadWords()["en"][key]; !ok {
			return strings.TrimSpace(key + " " + fmt.Sprint(args...))
		}
	}
	return fill(lang, text, args)
}

// fill puts arguments into a text and chooses the forms of its words.
func fill(lang, text string, args []any) string {
	var b strings.Builder
	number := int64(0)
	for text != "" {
		i := strings.IndexAny(text, "%[")
		if i < 0 {
			break
		}
		b.WriteString(text[:i])
		text = text[i:]
		forms, rest, isForms := strings.Cut(text, "]")
		switch {
		case strings.HasPrefix(text, "%s") && len(args) > 0:
			value := fmt.Sprint(args[0])
			number = digitsOf(value)
			b.WriteString(value)
			args, text = args[1:], text[2:]
		case strings.HasPrefix(text, "%%"):
			b.WriteByte('%')
			text = text[2:]
		case text[0] == '[' && isForms && strings.Contains(forms, "|"):
			b.WriteString(form(lang, number, strings.Split(forms[1:], "|")))
			text = rest
		default:
			b.WriteByte(text[0])
			text = text[1:]
		}
	}
	return b.String() + text
}

// digitsOf reads a number that count has grouped; 2 when the text is no whole number.
func digitsOf(text string) int64 {
	n, err := strconv.ParseInt(strings.ReplaceAll(text, groupMark, ""), 10, 64)
	if err != nil {
		return 2
	}
	return n
}

// form chooses the word that goes with n.
func form(lang string, n int64, forms []string) string {
	i := 0
	switch {
	case lang == "ru":
		switch ten, hundred := n%10, n%100; {
		case ten == 1 && hundred != 11:
		case ten >= 2 && ten <= 4 && (hundred < 12 || hundred > 14):
			i = 1
		default:
			i = 2
		}
	case n != 1:
		i = 1
	}
	return forms[min(i, len(forms)-1)]
}
