package web

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/concord-home/concord"
)

// related is what a home answers to search/related: ids by kind.
type related struct {
	Area       []string `json:"area"`
	Device     []string `json:"device"`
	Label      []string `json:"label"`
	Automation []string `json:"automation"`
	Scene      []string `json:"scene"`
	Script     []string `json:"script"`
}

func parseRelated(answer json.RawMessage) (related, error) {
	var r related
	if err := json.Unmarshal(raw(answer), &r); err != nil {
		return r, fmt.Errorf("read the home's answer to search/related: %w", err)
	}
	return r, nil
}

// getEntityRelated tells what an entity belongs to and what uses it.
func (s *Server) getEntityRelated(ctx context.Context, c *rpcCall) (any, error) {
	var p struct {
		homeParam
		Entity *string `json:"entity_id"`
	}
	if err := c.decode(&p); err != nil {
		return nil, err
	}
	if p.Entity == nil {
		return nil, missing("get_entity_related", "entity_id")
	}
	h, r, err := s.homeAndRegistry(ctx, p.Home)
	if err != nil {
		return nil, err
	}
	answer, err := s.command(ctx, p.Home, map[string]string{"type": "search/related", "item_type": "entity", "item_id": *p.Entity})
	if err != nil {
		return nil, err
	}
	rel, err := parseRelated(answer)
	if err != nil {
		return nil, err
	}
	return ok(map[string]any{
		"area": areaOf(r.Area(r.AreaOf(*p.Entity))), "device": relatedDevice(r, *p.Entity), "labels": relatedLabels(r, *p.Entity),
		"automations": s.relatedEntities(h.ID, r, rel.Automation, true),
		"scenes":      s.relatedEntities(h.ID, r, rel.Scene, false),
		"scripts":     s.relatedEntities(h.ID, r, rel.Script, true),
	}), nil
}

func relatedDevice(r *concord.Registry, entityID string) any {
	e := r.Entity(entityID)
	if e == nil || r.Device(e.DeviceID) == nil {
		return nil
	}
	d := r.Device(e.DeviceID)
	return map[string]any{
		"id": concord.DeviceKey(d.ID), "device_id": d.ID, "name": d.DisplayName(),
		"manufacturer": orFalse(d.Manufacturer), "model": orFalse(d.Model),
	}
}

func relatedLabels(r *concord.Registry, entityID string) []any {
	list := []any{}
	e := r.Entity(entityID)
	if e == nil {
		return list
	}
	for i := range r.Labels {
		l := &r.Labels[i]
		for _, id := range e.Labels {
			if id == l.ID {
				list = append(list, map[string]any{
					"id": concord.LabelKey(l.ID), "label_id": l.ID, "name": l.Name, "icon": orFalse(l.Icon), "color": orFalse(l.Color),
				})
			}
		}
	}
	return list
}

func (s *Server) relatedEntities(home int64, r *concord.Registry, ids []string, withState bool) []any {
	list := []any{}
	for _, id := range ids {
		st := s.Live.State(home, id)
		if st == nil {
			continue
		}
		item := map[string]any{"id": r.EntityKey(id), "entity_id": id, "name": displayName(r.Entity(id), st, id)}
		if withState {
			item["state"] = st.State
		}
		list = append(list, item)
	}
	return list
}
