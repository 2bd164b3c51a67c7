package web

import (
	"context"
	"encoding/json"

	"github.com/concord-home/concord"
	"github.com/concord-home/concord/hass/server"
	"github.com/concord-home/concord/internal/web/hub"
)

// wsSearch finds entities and areas by name.
func (s *Server) wsSearch(ctx context.Context, c *screen, r server.Request) (any, error) {
	p := struct {
		Query string `json:"query"`
		Limit int    `json:"limit"`
	}{Limit: 50}
	if err := r.Decode(&p); err != nil {
		return nil, err
	}
	h, err := s.wsHub(ctx, c, r)
	if err != nil {
		return nil, err
	}
	return h.Search(p.Query[:min(len(p.Query), 200)], min(max(p.Limit, 1), 500)), nil
}

type relatedJSON struct {
	Automations []entityName    `json:"automations"`
	Scenes      []entityName    `json:"scenes"`
	Scripts     []entityName    `json:"scripts"`
	Labels      []hub.LabelJSON `json:"labels"`
	// Partial says that the home could not be asked, so lists may be missing.
	Partial bool `json:"partial,omitempty"`
}

type entityName struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

// wsEntity tells where an entity stands and what uses it. What the home has to
// be asked for is left out when it does not answer.
func (s *Server) wsEntity(ctx context.Context, _ *screen, r server.Request) (any, error) {
	var p struct {
		Entity string `json:"entity_id"`
	}
	if err := r.Decode(&p); err != nil {
		return nil, err
	}
	home, err := s.wsHome(ctx, r)
	if err != nil {
		return nil, err
	}
	h, err := s.hub(home.ID)
	if err != nil {
		return nil, err
	}
	detail, found := h.Entity(p.Entity)
	if !found {
		return nil, concord.Errorf(concord.CodeNotFound, "There is no entity %q", p.Entity)
	}
	return struct {
		hub.EntityDetail
		Related relatedJSON `json:"related"`
	}{detail, s.relatedTo(ctx, home.ID, p.Entity, detail.Labels)}, nil
}

func (s *Server) relatedTo(ctx context.Context, home int64, entityID string, labels []hub.LabelJSON) relatedJSON {
	j := relatedJSON{Automations: []entityName{}, Scenes: []entityName{}, Scripts: []entityName{}, Labels: labels}
	body, err := json.Marshal(map[string]string{"type": "search/related", "item_type": "entity", "item_id": entityID})
	if err != nil {
		j.Partial = true
		return j
	}
	answer, err := s.Link.Command(ctx, home, body)
	var rel related
	if err == nil {
		rel, err = parseRelated(answer)
	}
	if err != nil {
		s.Logger.InfoContext(ctx, "related entities are unknown", "correlation_id", concord.CorrelationID(ctx), "error", err)
		j.Partial = true
		return j
	}
	j.Automations, j.Scenes, j.Scripts = s.entityNames(home, rel.Automation), s.entityNames(home, rel.Scene), s.entityNames(home, rel.Script)
	return j
}

func (s *Server) entityNames(home int64, ids []string) []entityName {
	names := make([]entityName, 0, len(ids))
	for _, id := range ids {
		name := friendlyName(s.Live.State(home, id))
		if name == "" {
			name = id
		}
		names = append(names, entityName{id, name})
	}
	return names
}
