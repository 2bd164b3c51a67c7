package page

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"html/template"
	"io/fs"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"
)

//go:embed static i18n facts icons
var embedded embed.FS

// Languages are the page's languages, the first being the one that stands in.
var Languages = []string{"en", "zh-Hant", "ru"}

// pageSite is everything that is served, ready to be written.
type pageSite struct {
	version  string           // hash of all files
	files    map[string]asset // by path below /static/<version>/
	bundle   *bundle
	words    map[string][]byte // by language, fit to stand in HTML
	head     []byte            // the shell before what the first screen shows
	tail     []byte            // and behind it
	policy   string            // Content-Security-Policy of the shell
	manifest asset
}

// asset is one file, with its gzip form where that is smaller.
type asset struct {
	body, gzipped []byte
	contentType   string
	etag          string
}

// newSite reads the embedded files. It panics on a file that does not belong
// there: they are part of the program, and every test runs it.
func newSite() *pageSite {
	s := &pageSite{files: map[string]asset{}, words: map[string][]byte{}}
	must(s.addStatic())
	s.addGenerated()
	s.bundle = newBundle("app.js", s.files, bare)
	s.add(bundlePath, []byte(s.bundle.out.String()))
	s.version = s.hash()
	s.buildShell()
	s.manifest = newAsset("manifest.json", s.manifestBody())
	return s
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func (s *pageSite) addStatic() error {
	return fs.WalkDir(embedded, "static", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		body, err := embedded.ReadFile(name)
		short := strings.TrimPrefix(name, "static/")
		if short != shellPath && path.Base(name) != "LICENSE" {
			s.files[short] = newAsset(short, body)
		}
		return err
	})
}

// addGenerated adds what is put together from several files: the words of each
// language, and the module with the icon tables.
func (s *pageSite) addGenerated() {
	for _, lang := range Languages {
		body := fmt.Appendf(nil, `{"ui":%s,"states":%s}`, read("i18n/"+lang+".json"), read("facts/states."+lang+".json"))
		s.add("i18n/"+lang+".json", compact(body))
		var safe bytes.Buffer
		json.HTMLEscape(&safe, compact(body))
		s.words[lang] = safe.Bytes()
	}
	core, err := json.Marshal(Icons(coreIcons()))
	must(err)
	s.add("facts.js", fmt.Appendf(nil, "export const icons=%s;\nexport const core=%s;\n", parsed(compact(read("facts/icons.json"))), parsed(core)))
}

// parsed is a script that parses the JSON: quicker to start than the same as a
// literal of the script.
func parsed(body []byte) string {
	return "JSON.parse('" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(string(body)) + "')"
}

func (s *pageSite) add(name string, body []byte) { s.files[name] = newAsset(name, body) }

func read(name string) []byte {
	body, err := embedded.ReadFile(name)
	must(err)
	return body
}

func compact(body []byte) []byte {
	var out bytes.Buffer
	must(json.Compact(&out, body))
	return out.Bytes()
}

func (s *pageSite) hash() string {
	sum := sha256.New()
	for _, name := range s.names() {
		fmt.Fprintf(sum, "%s %s\n", name, s.files[name].etag)
	}
	return hex.EncodeToString(sum.Sum(nil))[:12]
}

func (s *pageSite) names() []string {
	names := make([]string, 0, len(s.files))
	for name := range s.files {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// url is the address of a file for as long as its content stays.
func (s *pageSite) url(name string) string {
	_, ok := s.files[name]
	if !ok {
		panic("page: no file " + name)
	}
	return "/static/" + s.version + "/" + name
}

// bare are the modules that others import by a name instead of a path.
var bare = map[string]string{
	"lit-html":                    "vendor/lit-html/lit-html.js",
	"lit-html/async-directive.js": "vendor/lit-html/async-directive.js",
	"home-assistant-js-websocket/connection.js": "vendor/haws/connection.js",
	"home-assistant-js-websocket/errors.js":     "vendor/haws/errors.js",
	"concord/facts.js":                          "facts.js",
}

// importMap leads the modules that are loaded later to the bundle, where those
// that they import are already.
func (s *pageSite) importMap(b *bundle) string {
	imports := map[string]string{"lit-html": s.url(bundlePath)}
	for _, file := range b.modules {
		if b.shared(file) {
			imports[s.url(file)] = s.url(bundlePath)
		}
	}
	body, err := json.Marshal(map[string]any{"imports": imports})
	must(err)
	return string(body)
}

func (s *pageSite) buildShell() {
	boot, imports := s.bootScript(), s.importMap(s.bundle)
	t := template.Must(template.New("").Funcs(template.FuncMap{
		"asset":     s.url,
		"inline":    func(name string) template.URL { return dataURL(s.files[name].body) },
		"boot":      func() template.JS { return template.JS(boot) },
		"firstdata": func() template.JS { return firstData },
		"importmap": func() template.HTML { return template.HTML(imports) },
	}).Parse(string(read("static/" + shellPath))))
	var out bytes.Buffer
	must(t.Execute(&out, nil))
	s.head, s.tail, _ = bytes.Cut(out.Bytes(), []byte(firstData))
	s.policy = strings.Join([]string{
		"default-src 'none'", "script-src 'self' " + sourceHash(boot) + " " + sourceHash(imports), "style-src 'self'",
		"img-src 'self' data:", "connect-src 'self'", "manifest-src 'self'", "base-uri 'none'", "form-action 'self'", "frame-ancestors 'self'",
	}, "; ")
}

func (s *pageSite) bootScript() string { return withoutComments(string(s.files["boot.js"].body)) }

func dataURL(svg []byte) template.URL {
	return template.URL("data:image/svg+xml;base64," + base64.StdEncoding.EncodeToString(svg))
}

func sourceHash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

func (s *pageSite) manifestBody() []byte {
	body, err := json.Marshal(map[string]any{
		"name": "Concord", "short_name": "Concord", "start_url": "/", "display": "standalone",
		"background_color": "#f3f4f6", "theme_color": "#f3f4f6",
		"icons": []map[string]string{{"src": s.url("icon.svg"), "type": "image/svg+xml", "sizes": "any", "purpose": "any"}},
	})
	must(err)
	return body
}

func newAsset(name string, body []byte) asset {
	sum := sha256.Sum256(body)
	a := asset{body: body, etag: `"` + hex.EncodeToString(sum[:8]) + `"`, contentType: contentType(name)}
	if packed := pack(body); len(packed) < len(body)*9/10 {
		a.gzipped = packed
	}
	return a
}

func contentType(name string) string {
	switch path.Ext(name) {
	case ".js":
		return "text/javascript; charset=utf-8"
	case ".css":
		return "text/css; charset=utf-8"
	case ".html":
		return "text/html; charset=utf-8"
	case ".svg":
		return "image/svg+xml"
	case ".json":
		if name == "manifest.json" {
			return "application/manifest+json"
		}
		return jsonType
	}
	panic("page: no content type for " + name)
}

func pack(body []byte) []byte {
	var out bytes.Buffer
	z, err := gzip.NewWriterLevel(&out, gzip.BestCompression)
	must(err)
	_, err = z.Write(body)
	must(err)
	must(z.Close())
	return out.Bytes()
}

func writeBody(w http.ResponseWriter, r *http.Request, body []byte) {
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	if r.Method != http.MethodHead {
		_, _ = w.Write(body) // the client went away
	}
}
