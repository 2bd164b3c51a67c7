package page

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"sync"
)

// maxIcons is how many icons one request may name.
const maxIcons = 400

// mdi holds the outline of every Material Design icon by its name, 2.4 MB once read.
var mdi = sync.OnceValue(func() map[string]string {
	z, err := gzip.NewReader(bytes.NewReader(read("icons/mdi.tsv.gz")))
	must(err)
	text, err := io.ReadAll(z)
	must(err)
	outlines := make(map[string]string, 7500)
	for line := range strings.Lines(string(text)) {
		name, outline, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
		outlines[name] = outline
	}
	return outlines
})

// Icons returns the outlines (SVG path data on a 24 × 24 canvas) of the named
// Material Design icons, names without "mdi:". Unknown names are absent.
func Icons(names []string) map[string]string {
	found := make(map[string]string, len(names))
	for _, name := range names {
		if outline, ok := mdi()[name]; ok {
			found[name] = outline
		}
	}
	return found
}

// coreIcons are the names that travel with the page, so that its first screen
// needs no second request.
func coreIcons() []string { return strings.Fields(string(read("icons/core.txt"))) }

// serveIcons answers /icons/mdi?names=a,b,c with {"a": outline, …}. The answer
// belongs to the address for ever, as the icons' version is built in.
func serveIcons(w http.ResponseWriter, r *http.Request) {
	names := strings.Split(r.URL.Query().Get("names"), ",")
	if len(names) > maxIcons {
		http.Error(w, "too many names", http.StatusBadRequest)
		return
	}
	writeJSON(w, r, Icons(names))
}

var platforms = sync.OnceValue(func() map[string]json.RawMessage {
	var table map[string]json.RawMessage
	must(json.Unmarshal(read("facts/platforms.json"), &table))
	return table
})

// servePlatformIcons answers /icons/platform?names=hue,zha with the icons that
// these integrations give to their own entities, by domain and translation key.
func servePlatformIcons(w http.ResponseWriter, r *http.Request) {
	found := map[string]json.RawMessage{}
	for name := range strings.SplitSeq(r.URL.Query().Get("names"), ",") {
		if table, ok := platforms()[name]; ok {
			found[name] = table
		}
	}
	writeJSON(w, r, found)
}

func writeJSON(w http.ResponseWriter, r *http.Request, value any) {
	body, err := json.Marshal(value)
	if err != nil {
		http.Error(w, "", http.StatusInternalServerError)
		return
	}
	newAsset("icons.json", body).serve(w, r, oneDay)
}
