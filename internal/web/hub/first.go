package hub

import (
	"encoding/json"
	"hash/fnv"
	"strconv"
)

// First is what a screen shows before its subscriptions bring anything: their
// first events.
type First struct {
	Overview json.RawMessage
	Area     json.RawMessage // nil without an area
	Known    string          // names the area's make-up; see [Hub.Area]
	States   json.RawMessage // of the area's entities, as Entities sends them
}

// First returns what a screen begins with. areaID may be "" or of no area; extra
// is that of [Hub.Overview].
func (h *Hub) First(areaID string, extra func() json.RawMessage) (First, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	overview, err := h.overview(extra())
	a := h.index.areas[areaID]
	if areaID == Unassigned {
		a = h.index.areas[""]
	}
	if err != nil || areaID == "" || a == nil {
		return First{Overview: overview}, err
	}
	detail, err := h.areaEvent(areaID)
	if err != nil {
		return First{}, err
	}
	return First{overview, detail, knownAs(detail), (&Feed{hub: h, ids: a.shown()}).snapshot(nil)}, nil
}

// shown returns the entities that the area's event names.
func (a *area) shown() []string {
	var ids []string
	for _, d := range a.devices {
		for _, p := range a.inDevice[d.ID] {
			ids = append(ids, p.entityID)
		}
	}
	for _, p := range a.alone {
		ids = append(ids, p.entityID)
	}
	return ids
}

// knownAs is a short name of an area's event, another when it changes.
func knownAs(event []byte) string {
	sum := fnv.New64a()
	sum.Write(event) //nolint:errcheck // cannot fail
	return strconv.FormatUint(sum.Sum64(), 36)
}
