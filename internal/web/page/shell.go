package page

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"sync"
)

// Screen is what a page's first screen shows, so that it needs no connection for
// it: the first events of the subscriptions that the page will make. Each part
// is JSON.
type Screen struct {
	Overview json.RawMessage `json:"overview"`
	Status   json.RawMessage `json:"status"`
	Area     json.RawMessage `json:"area,omitempty"`   // of an area's address
	Known    string          `json:"known,omitempty"`  // names the area's make-up
	States   json.RawMessage `json:"states,omitempty"` // of the area's entities
}

type screenKey struct{}

// WithScreen has the shell carry what its first screen shows.
func WithScreen(ctx context.Context, s Screen) context.Context {
	return context.WithValue(ctx, screenKey{}, s)
}

// firstData marks the place in the shell's template where the data stands.
const firstData = "FIRST-DATA"

var packers = sync.Pool{New: func() any { return gzip.NewWriter(nil) }}

// serveShell sends the shell with the words of the reader's language and what
// the first screen shows. It is different each time and private, so that nobody
// keeps it.
func (s *pageSite) serveShell(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Security-Policy", s.policy)
	h.Set("Referrer-Policy", "same-origin")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Type", contentType(shellPath))
	h.Set("Cache-Control", "no-store")
	body := bytes.Join([][]byte{s.head, s.first(r), s.tail}, nil)
	if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		h.Set("Content-Encoding", "gzip")
		body = packShell(body)
	}
	writeBody(w, r, body)
}

func packShell(body []byte) []byte {
	var out bytes.Buffer
	z := packers.Get().(*gzip.Writer)
	defer packers.Put(z)
	z.Reset(&out)
	_, err := z.Write(body)
	must(err) // a buffer takes everything
	must(z.Close())
	return out.Bytes()
}

// first is the data in the shell, fit to stand in HTML.
func (s *pageSite) first(r *http.Request) []byte {
	lang := language(r)
	data := struct {
		Lang   string          `json:"lang"`
		Words  json.RawMessage `json:"words"`
		Screen *Screen         `json:"screen,omitempty"`
	}{Lang: lang, Words: s.words[lang]}
	if screen, ok := r.Context().Value(screenKey{}).(Screen); ok {
		data.Screen = &screen
	}
	body, err := json.Marshal(data)
	if err != nil { // the home sent what is no JSON: the page asks for it again
		data.Screen = nil
		body, _ = json.Marshal(data)
	}
	return body
}

// language is the one that the page's own script would choose: the cookie with
// the reader's choice, then what the browser asks for.
func language(r *http.Request) string {
	var wishes []string
	if chosen, err := r.Cookie("lang"); err == nil {
		wishes = append(wishes, chosen.Value)
	}
	wishes = append(wishes, strings.Split(r.Header.Get("Accept-Language"), ",")...)
	for _, wish := range wishes {
		wish = strings.ToLower(strings.TrimSpace(wish))
		switch {
		case strings.HasPrefix(wish, "zh"):
			return "zh-Hant"
		case strings.HasPrefix(wish, "ru"), strings.HasPrefix(wish, "en"):
			return wish[:2]
		}
	}
	return Languages[0]
}
