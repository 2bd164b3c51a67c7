package doctor

import (
	"embed"
	"fmt"
	"strings"
	"sync"
)

//go:embed words/*.txt
var wordFiles embed.FS

// Languages of the report.
var Languages = []string{"en", "zh-Hant", "ru"}

// words are the texts of one language: key → text with %s where arguments go.
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
	if strings.Count(text, "%") == 0 {
		return text
	}
	if wanted := strings.Count(text, "%s"); wanted > 0 && wanted < len(args) {
		args = args[:wanted]
	}
	return fmt.Sprintf(text, args...)
}
