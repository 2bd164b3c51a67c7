package web_test

import (
	"encoding/json"
	"net/http"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/concord-home/concord/internal/web"
	"github.com/concord-home/concord/internal/web/page"
)

// shellData returns what the shell at the address carries for its first screen.
func (b *bundle) shellData(t testing.TB, path string) map[string]json.RawMessage {
	t.Helper()
	resp, text := b.do(t, "GET", path, "", nil)
	require.Equal(t, http.StatusOK, resp.StatusCode)
	require.Equal(t, "no-store", resp.Header.Get("Cache-Control"))
	found := regexp.MustCompile(`(?s)id="first">(.*?)</script>`).FindStringSubmatch(text)
	require.NotNil(t, found)
	var data struct{ Screen map[string]json.RawMessage }
	require.NoError(t, json.Unmarshal([]byte(found[1]), &data))
	return data.Screen
}

func TestShellCarriesTheFirstScreen(t *testing.T) {
	t.Parallel()
	b := setup(t, func(_ *bundle, o *web.Options) { o.Page = page.Handler() })
	require.Nil(t, b.shellData(t, "/login"), "without a session nothing of the home")
	b.signIn(t)
	b.live.set(state("light.ceiling", "on", `{"friendly_name":"</script><script>alert(1)</script>"}`))

	screen := b.shellData(t, "/area/kitchen")
	require.Contains(t, string(screen["area"]), `"id":"light.ceiling"`)
	require.Contains(t, string(screen["states"]), `"sensor.kitchen_temperature"`)
	require.NotContains(t, string(screen["states"]), `light.secret`, "what is hidden is not shown")
	require.Contains(t, string(screen["overview"]), `"Test home"`)
	require.Contains(t, string(screen["status"]), `"link":"connected"`)

	for _, path := range []string{"/", "/status", "/area/none", "/entity/light.ceiling", "/?home=1"} {
		screen = b.shellData(t, path)
		require.NotEmpty(t, screen["overview"], path)
		require.Empty(t, screen["area"], path)
	}
	require.Nil(t, b.shellData(t, "/?home=99"), "a home that is not there")
}
