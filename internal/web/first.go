package web

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"

	"github.com/concord-home/concord"
	"github.com/concord-home/concord/internal/web/page"
)

// withFirstScreen has the page's shell carry what its first screen shows. When
// something is amiss it carries nothing: the screen's subscriptions then say what.
func (s *Server) withFirstScreen(ctx context.Context, r *http.Request) context.Context {
	var wanted number
	if id := r.URL.Query().Get("home"); id != "" {
		_ = wanted.UnmarshalJSON([]byte(id)) // never fails
	}
	home, err := s.home(ctx, wanted)
	if err != nil {
		return ctx
	}
	screen, err := s.firstScreen(ctx, home, strings.TrimPrefix(r.URL.Path, "/area/"))
	if err != nil {
		s.Logger.WarnContext(ctx, "page goes without its first screen", "error", err)
		return ctx
	}
	return page.WithScreen(ctx, screen)
}

// firstScreen is what a screen of the home shows first; areaID may be of no area.
func (s *Server) firstScreen(ctx context.Context, home concord.HomeStatus, areaID string) (page.Screen, error) {
	h, err := s.hub(home.ID)
	if err != nil {
		return page.Screen{}, err
	}
	user := identity(ctx).User
	first, err := h.First(areaID, func() json.RawMessage { return s.overviewHead(home.ID, user) })
	return page.Screen{Overview: first.Overview, Status: s.statusEvent(home), Area: first.Area, Known: first.Known, States: first.States}, err
}
