package pagetest

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"

	"github.com/concord-home/concord/internal/web/page"
)

// SetBare has the shell come without what its first screen shows.
func (h *House) SetBare(bare bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.bare = bare
}

// firstScreen gives the shell what the first screen shows, as Concord does.
func (h *House) firstScreen(r *http.Request) context.Context {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.bare || r.URL.Path == "/login" {
		return r.Context()
	}
	event := func(kind string) json.RawMessage {
		e, _ := h.first(request{Type: kind, AreaID: strings.TrimPrefix(r.URL.Path, "/area/")})
		body, _ := json.Marshal(e) // texts and numbers can always be encoded
		return body
	}
	s := page.Screen{Overview: event("concord/subscribe_overview"), Status: event("concord/subscribe_status")}
	for _, a := range h.house.areas {
		if "/area/"+a.ID != r.URL.Path {
			continue
		}
		states := map[string]state{}
		for _, e := range a.entities() {
			states[e.ID] = h.house.states[e.ID]
		}
		s.Area = event("concord/subscribe_area")
		s.States, _ = json.Marshal(map[string]any{"a": states})
	}
	return page.WithScreen(r.Context(), s)
}
