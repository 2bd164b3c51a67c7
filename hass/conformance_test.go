package hass_test

import (
	"encoding/json"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/require"

	"github.com/concord-home/concord/hass/simhome"
)

// What a client sent to a real Home Assistant is sent to the server half; the
// answers must agree in id, type, success and error code.
func TestServerAnswersAsRecorded(t *testing.T) {
	t.Parallel()
	for _, version := range versions {
		for _, name := range []string{"errors", "ping_pong", "auth_ok", "auth_invalid", "auth_wrong_format"} {
			if version == "2024.3.3" && name == "errors" {
				continue // it calls a negative id reused; the server half does as 2025.4
			}
			t.Run(version+"/"+name, func(t *testing.T) {
				t.Parallel()
				replay(t, recording(t, version, name))
			})
		}
	}
}

func replay(t *testing.T, lines []captured) {
	home, err := simhome.New(simhome.Options{Token: "REDACTED"})
	require.NoError(t, err)
	t.Cleanup(home.Close)
	srv := httptest.NewServer(home)
	t.Cleanup(srv.Close)
	ws, _, err := websocket.Dial(t.Context(), strings.Replace(srv.URL, "http", "ws", 1)+"/api/websocket", nil)
	require.NoError(t, err)
	defer ws.CloseNow()
	ws.SetReadLimit(64 << 20)
	for _, line := range lines {
		switch line.Dir {
		case "send":
			raw := []byte(line.Raw)
			var text string
			if json.Unmarshal(raw, &text) == nil { // what is not an object was recorded as text
				raw = []byte(text)
			}
			require.NoError(t, ws.Write(t.Context(), websocket.MessageText, raw))
		case "recv":
			_, got, err := ws.Read(t.Context())
			require.NoError(t, err)
			requireSameAnswer(t, line.Raw, got)
		case "note":
			var end struct {
				Code *int `json:"close_code"`
			}
			if json.Unmarshal(line.Raw, &end) == nil && end.Code != nil {
				_, _, err := ws.Read(t.Context())
				require.Equal(t, *end.Code, int(websocket.CloseStatus(err)), "%v", err)
			}
		}
	}
}

func requireSameAnswer(t *testing.T, want, got json.RawMessage) {
	t.Helper()
	var w, g wireMessage
	require.NoError(t, json.Unmarshal(want, &w))
	require.NoError(t, json.Unmarshal(got, &g), "%s", got)
	require.Equal(t, w.Type, g.Type, "%s", got)
	require.Equal(t, string(w.ID), string(g.ID), "%s", got)
	require.Equal(t, w.Success, g.Success, "%s instead of %s", got, want)
	if w.Error != nil {
		require.Equal(t, w.Error.Code, g.Error.Code, "%s", got)
	}
}
