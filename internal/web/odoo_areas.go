package web

import (
	"context"
	"encoding/json"
	"sync"

	"github.com/concord-home/concord"
)

type areaCount struct {
	odooArea
	EntityCount int `json:"entity_count"`
}

// areaCache keeps the answer to areas for each home as long as the home's
// registry is the same: states do not change it.
type areaCache struct {
	mu sync.Mutex
	m  map[int64]cachedAreas
}

type cachedAreas struct {
	registry *concord.Registry
	result   json.RawMessage
}

func (c *areaCache) get(home int64, r *concord.Registry) (json.RawMessage, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if cached := c.m[home]; cached.registry == r {
		return cached.result, nil
	}
	result, err := json.Marshal(areasResult(countAreas(r)))
	if err != nil {
		return nil, err
	}
	if c.m == nil {
		c.m = map[int64]cachedAreas{}
	}
	c.m[home] = cachedAreas{registry: r, result: result}
	return result, nil
}

// areasResult has the areas twice: clients read one place or the other.
func areasResult(areas []areaCount) any {
	return map[string]any{"success": true, "areas": areas, "data": map[string]any{"areas": areas}}
}

// countAreas counts the enabled entities that each area shows, whether the area
// is the entity's own or its device's.
func countAreas(r *concord.Registry) []areaCount {
	n := map[string]int{}
	for i := range r.Entities {
		if e := &r.Entities[i]; e.DisabledBy == "" {
			n[r.AreaOf(e.EntityID)]++
		}
	}
	areas := make([]areaCount, len(r.Areas))
	for i := range r.Areas {
		a := &r.Areas[i]
		areas[i] = areaCount{odooArea: *areaOf(a), EntityCount: n[a.ID]}
	}
	return areas
}

// getAreas answers areas from memory; {"sync": true} has the rows of the home
// made equal to the home first.
func (s *Server) getAreas(ctx context.Context, c *rpcCall) (any, error) {
	var p struct {
		homeParam
		Sync bool `json:"sync"`
	}
	if err := c.decode(&p); err != nil {
		return nil, err
	}
	h, err := s.home(ctx, p.Home)
	if err != nil {
		return nil, err
	}
	if p.Sync {
		if err := s.sync(ctx, h.ID); err != nil {
			return nil, err
		}
	}
	r, err := s.Live.Registry(h.ID)
	if err != nil {
		return nil, err
	}
	return s.areas.get(h.ID, r)
}

func (s *Server) sync(ctx context.Context, home int64) error {
	if s.Reconciler == nil {
		return concord.Errorf(concord.CodeUnavailable, "This server does not synchronise homes")
	}
	ctx, cancel := context.WithTimeout(ctx, s.SyncTimeout)
	defer cancel()
	_, err := s.Reconciler.Reconcile(ctx, home)
	return err
}

// getEntitiesByArea lists what an area shows.
func (s *Server) getEntitiesByArea(ctx context.Context, c *rpcCall) (any, error) {
	var p struct {
		homeParam
		Area number `json:"area_id"`
	}
	if err := c.decode(&p); err != nil {
		return nil, err
	}
	switch p.Area.state {
	case numberAbsent:
		return nil, missing("get_entities_by_area", "area_id")
	case numberEmpty, numberBad:
		return nil, errBadAreaID
	}
	h, r, err := s.homeAndRegistry(ctx, p.Home)
	if err != nil {
		return nil, err
	}
	areaID := r.IDByKey(p.Area.value)
	entities := []odooEntity{}
	for i := range r.Entities {
		e := &r.Entities[i]
		if areaID != "" && e.DisabledBy == "" && r.AreaOf(e.EntityID) == areaID {
			entities = append(entities, s.odooEntity(h.ID, r, e.EntityID))
		}
	}
	return ok(map[string]any{"entities": entities}), nil
}

var errBadAreaID = concord.Errorf(concord.CodeInvalid, "Invalid area_id: must be a numeric ID")
