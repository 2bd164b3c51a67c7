package page_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/concord-home/concord/internal/web/page"
)

func get(t *testing.T, path string, header ...string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, path, nil)
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	page.Handler().ServeHTTP(w, r)
	return w
}

func TestShellIsServedAtThePagesAddresses(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"/", "/area/kitchen", "/entity/light.kitchen", "/status", "/login"} {
		w := get(t, path)
		require.Equal(t, http.StatusOK, w.Code, path)
		require.Contains(t, w.Body.String(), `<script type="importmap">{"imports":`)
		require.NotContains(t, w.Header().Get("Content-Security-Policy"), "unsafe")
	}
	require.Equal(t, http.StatusNotFound, get(t, "/nothing").Code)
}

func TestFilesAreCachedForEver(t *testing.T) {
	t.Parallel()
	links := regexp.MustCompile(`"(/static/[^"]+)"`).FindAllStringSubmatch(get(t, "/").Body.String(), -1)
	require.NotEmpty(t, links)
	for _, link := range links {
		if link[1][len(link[1])-1] == '/' {
			continue
		}
		w := get(t, link[1], "Accept-Encoding", "gzip")
		require.Equal(t, http.StatusOK, w.Code, link[1])
		require.Contains(t, w.Header().Get("Cache-Control"), "immutable")
		require.Equal(t, http.StatusNotModified, get(t, link[1], "If-None-Match", w.Header().Get("ETag")).Code)
	}
	require.Equal(t, http.StatusNotFound, get(t, "/static/older/app.js").Code)
}

func TestIconsAreServedByName(t *testing.T) {
	t.Parallel()
	var found map[string]string
	require.NoError(t, json.Unmarshal(get(t, "/icons/mdi?names=lightbulb,no-such-icon").Body.Bytes(), &found))
	require.Len(t, found, 1)
	require.Regexp(t, `^M12`, found["lightbulb"])

	var platforms map[string]map[string]map[string][]any
	require.NoError(t, json.Unmarshal(get(t, "/icons/platform?names=sun,none").Body.Bytes(), &platforms))
	require.NotEmpty(t, platforms["sun"]["sensor"])
}

func TestManifestAndLanguages(t *testing.T) {
	t.Parallel()
	require.Equal(t, "application/manifest+json", get(t, "/manifest.webmanifest").Header().Get("Content-Type"))
	for _, lang := range page.Languages {
		require.True(t, json.Valid(get(t, "/i18n/"+lang+".json").Body.Bytes()))
	}
	require.Equal(t, http.StatusNotFound, get(t, "/i18n/xx.json").Code)
}
