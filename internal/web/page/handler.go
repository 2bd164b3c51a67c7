package page

import (
	"net/http"
	"strings"
	"sync"
)

var site = sync.OnceValue(newSite)

// Handler serves the page: the app shell at its addresses (/, /area/…,
// /entity/…, /status, /login), /static/…, /icons/…, /i18n/… and
// /manifest.webmanifest. It is safe for concurrent use and knows nothing of
// sessions: the caller decides who may see the shell.
func Handler() http.Handler {
	s := site()
	mux := http.NewServeMux()
	for _, pattern := range []string{"/{$}", "/area/{id}", "/entity/{id}", "/status", "/login"} {
		mux.HandleFunc("GET "+pattern, s.serveShell)
	}
	mux.HandleFunc("GET /static/{version}/{path...}", s.serveStatic)
	mux.HandleFunc("GET /i18n/{file}", s.serveLanguage)
	mux.HandleFunc("GET /icons/mdi", serveIcons)
	mux.HandleFunc("GET /icons/platform", servePlatformIcons)
	mux.HandleFunc("GET /manifest.webmanifest", s.serveManifest)
	mux.HandleFunc("GET /favicon.ico", s.serveFavicon)
	return mux
}

const (
	forEver   = "public, max-age=31536000, immutable"
	eachTime  = "no-cache" // ask again, and take 304 for an answer
	oneDay    = "public, max-age=86400"
	jsonType  = "application/json; charset=utf-8"
	shellPath = "index.html"
)

func (s *pageSite) serveStatic(w http.ResponseWriter, r *http.Request) {
	a, ok := s.files[r.PathValue("path")]
	if !ok || r.PathValue("version") != s.version {
		http.NotFound(w, r)
		return
	}
	a.serve(w, r, forEver)
}

func (s *pageSite) serveLanguage(w http.ResponseWriter, r *http.Request) {
	a, ok := s.files["i18n/"+r.PathValue("file")]
	if !ok {
		http.NotFound(w, r)
		return
	}
	a.serve(w, r, eachTime)
}

func (s *pageSite) serveManifest(w http.ResponseWriter, r *http.Request) {
	s.manifest.serve(w, r, oneDay)
}

func (s *pageSite) serveFavicon(w http.ResponseWriter, r *http.Request) {
	s.files["icon.svg"].serve(w, r, oneDay)
}

// serve answers with the compressed body where the client takes it, or with 304
// where it has it already.
func (a asset) serve(w http.ResponseWriter, r *http.Request, cache string) {
	h := w.Header()
	h.Set("Content-Type", a.contentType)
	h.Set("Cache-Control", cache)
	h.Set("ETag", a.etag)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Add("Vary", "Accept-Encoding")
	if strings.Contains(r.Header.Get("If-None-Match"), a.etag) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	body := a.body
	if a.gzipped != nil && strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		h.Set("Content-Encoding", "gzip")
		body = a.gzipped
	}
	writeBody(w, r, body)
}
