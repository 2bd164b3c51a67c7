package page_test

import (
	"encoding/json"
	"net/http/httptest"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/concord-home/concord/internal/web/page"
	"github.com/concord-home/concord/internal/web/page/pagetest"
)

func TestShellSpeaksTheReadersLanguage(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, accept, cookie, want string }{
		{"nothing said", "", "", "en"},
		{"browser", "de-AT,ru-RU;q=0.8,en;q=0.5", "", "ru"},
		{"Chinese", "zh-CN", "", "zh-Hant"},
		{"none of ours", "de,fr;q=0.5", "", "en"},
		{"chosen", "ru", "zh-Hant", "zh-Hant"},
		{"garbage", ";;,,", "\u0001", "en"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			body := get(t, "/", "Accept-Language", c.accept, "Cookie", "lang="+c.cookie).Body.String()
			require.Contains(t, body, `{"lang":"`+c.want+`","words":{"ui":{`)
		})
	}
}

func TestScreenCannotLeaveItsPlace(t *testing.T) {
	t.Parallel()
	r := httptest.NewRequest("GET", "/", nil)
	r = r.WithContext(page.WithScreen(r.Context(), page.Screen{
		Overview: json.RawMessage(`{"name":"</script><!--<script>"}`), Status: json.RawMessage(`{}`),
	}))
	w := httptest.NewRecorder()
	page.Handler().ServeHTTP(w, r)
	data := regexp.MustCompile(`(?s)id="first">(.*)</script>\s*<noscript>`).FindStringSubmatch(w.Body.String())
	require.NotNil(t, data)
	require.NotContains(t, data[1], "<")
	require.True(t, json.Valid([]byte(data[1])))
}

// What the shell's first screen shows is taken over by the subscriptions, and a
// shell without it works the same.
func TestFirstScreenStaysLive(t *testing.T) {
	for _, bare := range []bool{false, true} {
		b := pagetest.NewBrowser(t, pagetest.Desktop)
		h := pagetest.Start(t)
		h.SetBare(bare)
		b.Open(t, h.URL+"/area/living_room", "[data-entity='light.reading'] button.ic")
		b.Do(t, pagetest.Click("[data-entity='light.reading'] button.ic"))
		b.Until(t, `document.querySelector("[data-entity='light.reading']").dataset.state === "on"`)
		h.DropLinks()
		h.SetState("light.reading", "off", map[string]any{})
		b.Until(t, `document.querySelector("[data-entity='light.reading']").dataset.state === "off"`)
		require.Len(t, h.Calls(), 1)
	}
}
