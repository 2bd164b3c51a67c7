package hub

import (
	"encoding/json"
	"time"

	"github.com/concord-home/concord"
)

// Overview returns a feed of the home's floors and areas with their summaries:
// everything first and whenever the registry changes, and in between the
// summaries that changed. extra is merged into each full event: a JSON object
// without its closing brace is made of it, so it must be an object.
func (h *Hub) Overview(extra func() json.RawMessage, wake func()) *Feed {
	return h.addSpecial(&Feed{hub: h, kind: kindOverview, wake: wake, full: true, awake: true, areas: map[string]struct{}{}, extra: extra})
}

// Registry returns a feed that sends event whenever the registry changes.
func (h *Hub) Registry(event json.RawMessage, wake func()) *Feed {
	return h.addSpecial(&Feed{hub: h, kind: kindRegistry, wake: wake, awake: true, extra: func() json.RawMessage { return event }})
}

// Status returns a feed that sends what event returns at once and whenever the
// link's state changes, and when [Hub.Touch] is called.
func (h *Hub) Status(event func(concord.HomeStatus) json.RawMessage, wake func()) *Feed {
	return h.addSpecial(&Feed{hub: h, kind: kindStatus, wake: wake, full: true, awake: true, status: event})
}

// TouchStatus has every status feed send again: something changed that the hub
// does not watch.
func (h *Hub) TouchStatus() {
	var wake wakeList
	h.mu.Lock()
	h.mark(&wake, func(f *Feed) bool { return f.kind == kindStatus })
	h.mu.Unlock()
	wake.run()
}

// nextSpecial is Next for the feeds that send what is, not what happened. The
// hub's lock is held.
func (f *Feed) nextSpecial(b []byte) ([]byte, bool, error) {
	if f.full {
		f.full = false
		event, err := f.hub.fullEvent(f)
		return append(b, event...), err == nil, err
	}
	if len(f.areas) == 0 {
		return b, false, nil
	}
	b = f.hub.appendSummaries(b, f.areas)
	clear(f.areas)
	return b, true, nil
}

func (h *Hub) fullEvent(f *Feed) ([]byte, error) {
	switch f.kind {
	case kindOverview:
		clear(f.areas)
		return h.overview(f.extra())
	case kindArea:
		return h.areaEvent(f.areaID)
	case kindStatus:
		status := h.status
		return f.status(status), nil
	}
	return f.extra(), nil
}

type floorJSON struct {
	ID    string  `json:"floor_id"`
	Name  string  `json:"name"`
	Icon  *string `json:"icon"`
	Level *int    `json:"level"`
}

type areaCardJSON struct {
	areaJSON
	Picture *string         `json:"picture"`
	Summary json.RawMessage `json:"s"`
}

type areaJSON struct {
	ID      string  `json:"area_id"`
	Name    string  `json:"name"`
	Icon    *string `json:"icon"`
	FloorID *string `json:"floor_id"`
}

func areaInfo(a *concord.Area) areaJSON {
	return areaJSON{ID: a.ID, Name: a.Name, Icon: orNil(a.Icon), FloorID: orNil(a.FloorID)}
}

type unassignedJSON struct {
	Devices  int             `json:"devices"`
	Entities int             `json:"entities"`
	Summary  json.RawMessage `json:"s"`
}

func (h *Hub) overview(extra json.RawMessage) ([]byte, error) {
	r := h.index.registry
	floors := make([]floorJSON, 0, len(r.Floors))
	for _, f := range r.Floors {
		floors = append(floors, floorJSON{f.ID, f.Name, orNil(f.Icon), f.Level})
	}
	areas := make([]areaCardJSON, 0, len(r.Areas))
	for i := range r.Areas {
		a := h.index.areas[r.Areas[i].ID]
		areas = append(areas, areaCardJSON{areaInfo(a.info), orNil(a.info.Picture), h.summaryOf(a)})
	}
	none := h.index.areas[""]
	event, err := json.Marshal(struct {
		Kind       string         `json:"kind"`
		Floors     []floorJSON    `json:"floors"`
		Areas      []areaCardJSON `json:"areas"`
		Unassigned unassignedJSON `json:"unassigned"`
	}{"overview", floors, areas, unassignedJSON{len(none.devices), none.sum.entities, h.summaryOf(none)}})
	if err != nil {
		return nil, err
	}
	if len(extra) > 2 {
		event = append(append(event[:len(event)-1], ','), extra[1:]...)
	}
	return event, nil
}

// appendSummaries appends the event with the summaries of these areas; the area
// "" goes by the name that it has in addresses.
func (h *Hub) appendSummaries(b []byte, areas map[string]struct{}) []byte {
	b = append(b, `{"kind":"summaries","areas":{`...)
	first := true
	for id := range areas {
		a := h.index.areas[id]
		if a == nil {
			continue
		}
		if !first {
			b = append(b, ',')
		}
		first = false
		if id == "" {
			id = Unassigned
		}
		key, _ := json.Marshal(id) // a text can always be encoded
		b = append(append(append(b, key...), ':'), h.summaryOf(a)...)
	}
	return append(b, "}}"...)
}

// Unassigned is what has no area, in addresses and events.
const Unassigned = "unassigned"

// Millis is a time as the page has it: milliseconds since 1970; 0 is never.
func Millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}
