package hub

import (
	"slices"
	"strings"
)

// SearchResult is what a query finds.
type SearchResult struct {
	Entities []EntityJSON      `json:"entities"`
	Areas    []AreaName        `json:"areas"`
	Total    int               `json:"total"` // entities found, shown or not
	Reasons  map[string]string `json:"reasons"`
}

// AreaName names an area.
type AreaName struct {
	ID   string `json:"area_id"`
	Name string `json:"name"`
}

// Search finds entities and areas that have every word of query in their name,
// id, or area's name. Names that begin with the query come first. Reasons says
// of found entities why no area shows them.
func (h *Hub) Search(query string, limit int) SearchResult {
	words := strings.Fields(strings.ToLower(query))
	result := SearchResult{Entities: []EntityJSON{}, Areas: []AreaName{}, Reasons: map[string]string{}}
	if len(words) == 0 {
		return result
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, a := range h.index.registry.Areas {
		if hasAll(strings.ToLower(a.Name), words) {
			result.Areas = append(result.Areas, AreaName{a.ID, a.Name})
		}
	}
	found := h.index.find(words)
	result.Total = len(found)
	for _, f := range found[:min(len(found), limit)] {
		result.Entities = append(result.Entities, f.json)
		if f.reason != "" {
			result.Reasons[f.json.ID] = f.reason
		}
	}
	return result
}

type hit struct {
	json   EntityJSON
	reason string
	rank   int
}

func (x *index) find(words []string) []hit {
	var hits []hit
	query := strings.Join(words, " ")
	for _, p := range x.places {
		text := strings.ToLower(p.name + " " + p.entityID + " " + p.areaName() + " " + x.deviceName(p))
		if !hasAll(text, words) {
			continue
		}
		f := hit{json: p.describe(), rank: rankOf(p.name, query)}
		f.json.Area, f.json.Device = p.areaName(), x.deviceName(p)
		if p.hidden {
			f.reason, f.rank = "hidden", f.rank+10
		}
		hits = append(hits, f)
	}
	for i := range x.registry.Entities {
		e := &x.registry.Entities[i]
		name := fullName(e, nil, e.EntityID)
		if e.DisabledBy != "" && hasAll(strings.ToLower(name+" "+e.EntityID), words) {
			hits = append(hits, hit{EntityJSON{ID: e.EntityID, Name: name, FullName: name, Platform: e.Platform}, "disabled", rankOf(name, query) + 20})
		}
	}
	slices.SortFunc(hits, func(a, b hit) int {
		if a.rank != b.rank {
			return a.rank - b.rank
		}
		return compareFold(a.json.FullName+a.json.ID, b.json.FullName+b.json.ID)
	})
	return hits
}

func rankOf(name, query string) int {
	name = strings.ToLower(name)
	switch {
	case name == query:
		return 0
	case strings.HasPrefix(name, query):
		return 1
	case strings.Contains(name, query):
		return 2
	}
	return 3
}

func hasAll(text string, words []string) bool {
	for _, w := range words {
		if !strings.Contains(text, w) {
			return false
		}
	}
	return true
}
