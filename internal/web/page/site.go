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
	shell    asset
	policy   string // Content-Security-Policy of the shell
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
	s := &pageSite{files: map[string]asset{}}
	must(s.addStatic())
	s.addGenerated()
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
	}
	core, err := json.Marshal(Icons(coreIcons()))
	must(err)
	s.add("facts.js", fmt.Appendf(nil, "export const icons=%s;\nexport const core=%s;\n", compact(read("facts/icons.json")), core))
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

// preloaded are the modules that the first screen needs, so that the browser
// asks for all of them at once instead of finding them one behind the other.
var preloaded = []string{
	"home.js", "entity.js", "ui.js", "controls.js", "views.js", "facts.js",
	"vendor/lit-html/lit-html.js", "vendor/lit-html/async-directive.js", "vendor/lit-html/directive-helpers.js", "vendor/lit-html/directive.js",
	"vendor/haws/connection.js", "vendor/haws/errors.js", "vendor/haws/messages.js",
}

func (s *pageSite) importMap() string {
	imports := map[string]string{
		"lit-html":                     s.url("vendor/lit-html/lit-html.js"),
		"lit-html/async-directive.js":  s.url("vendor/lit-html/async-directive.js"),
		"home-assistant-js-websocket/": "/static/" + s.version + "/vendor/haws/",
		"concord/facts.js":             s.url("facts.js"),
	}
	body, err := json.Marshal(map[string]any{"imports": imports})
	must(err)
	return string(body)
}

func (s *pageSite) buildShell() {
	boot, imports := s.bootScript(), s.importMap()
	t := template.Must(template.New("").Funcs(template.FuncMap{
		"asset":     s.url,
		"inline":    func(name string) template.URL { return dataURL(s.files[name].body) },
		"boot":      func() template.JS { return template.JS(boot) },
		"importmap": func() template.HTML { return template.HTML(imports) },
		"preloads":  func() []string { return urls(s, preloaded) },
	}).Parse(string(read("static/" + shellPath))))
	var out bytes.Buffer
	must(t.Execute(&out, nil))
	s.shell = newAsset(shellPath, out.Bytes())
	s.policy = strings.Join([]string{
		"default-src 'none'", "script-src 'self' " + sourceHash(boot) + " " + sourceHash(imports), "style-src 'self'",
		"img-src 'self' data:", "connect-src 'self'", "manifest-src 'self'", "base-uri 'none'", "form-action 'self'", "frame-ancestors 'self'",
	}, "; ")
}

// bootScript is the shell's inline script. It has no comments, as every page
// load carries it.
func (s *pageSite) bootScript() string {
	var lines []string
	for line := range strings.Lines(string(s.files["boot.js"].body)) {
		if line = strings.TrimSpace(line); !strings.HasPrefix(line, "//") {
			lines = append(lines, line)
		}
	}
	return strings.ReplaceAll(strings.Join(lines, "\n"), "STATIC", "/static/"+s.version)
}

func dataURL(svg []byte) template.URL {
	return template.URL("data:image/svg+xml;base64," + base64.StdEncoding.EncodeToString(svg))
}

func urls(s *pageSite, names []string) []string {
	list := make([]string, len(names))
	for i, name := range names {
		list[i] = s.url(name)
	}
	return list
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
