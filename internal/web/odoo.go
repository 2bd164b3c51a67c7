package web

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"strconv"
	"time"

	"github.com/concord-home/concord"
)

// homeParam is the optional parameter that every route of the add-on takes.
type homeParam struct {
	Home number `json:"ha_instance_id"`
}

// number is a whole number as clients of the add-on send it: 1, "1", null,
// false or absent.
type number struct {
	value int64
	state numberState
}

type numberState int

const (
	numberAbsent numberState = iota
	numberEmpty              // null, false or ""
	numberBad                // anything else that is no number
	numberGood
)

// UnmarshalJSON never fails: what is wrong with a parameter is for the method to say.
func (n *number) UnmarshalJSON(b []byte) error {
	b = bytes.Trim(b, `"`)
	switch string(b) {
	case "null", "false", "":
		n.state = numberEmpty
		return nil
	}
	v, err := strconv.ParseInt(string(b), 10, 64)
	if err != nil {
		*n = number{state: numberBad}
		return nil
	}
	*n = number{value: v, state: numberGood}
	return nil
}

// home returns the home that a call is about: the one it names, else the
// session's, else the first active one.
func (s *Server) home(ctx context.Context, p number) (concord.HomeStatus, error) {
	switch p.state {
	case numberGood:
		h, err := s.Live.Home(p.value)
		if err != nil {
			return h, instanceNotFound("HA instance with ID %d not found or access denied", p.value)
		}
		if !h.Active {
			return h, typedError{concord.Errorf(concord.CodeInvalid, "HA instance with ID %d is not active", p.value), "instance_inactive"}
		}
		return h, nil
	case numberBad:
		return concord.HomeStatus{}, concord.Errorf(concord.CodeInvalid, "Invalid ha_instance_id: must be a numeric ID")
	}
	return s.currentHome(ctx)
}

func (s *Server) currentHome(ctx context.Context) (concord.HomeStatus, error) {
	chosen := s.sessions.Home(identity(ctx).Session.TokenHash)
	if h, err := s.Live.Home(chosen); err == nil && h.Active {
		return h, nil
	}
	for _, h := range s.Live.Homes() {
		if h.Active {
			return h, nil
		}
	}
	return concord.HomeStatus{}, typedError{concord.Errorf(concord.CodeNotFound, "No active HA instance available"), "no_instance"}
}

func instanceNotFound(format string, id int64) error {
	return typedError{concord.Errorf(concord.CodeNotFound, format, id), "instance_not_found"}
}

// homeAndRegistry reads the parameters that every route has.
func (s *Server) homeAndRegistry(ctx context.Context, p number) (concord.HomeStatus, *concord.Registry, error) {
	h, err := s.home(ctx, p)
	if err != nil {
		return h, nil, err
	}
	r, err := s.Live.Registry(h.ID)
	return h, r, err
}

// orFalse is how Odoo shows a text field: false when it is empty.
func orFalse(text string) any {
	if text == "" {
		return false
	}
	return text
}

// odooTime is how Odoo shows a time: UTC, whole seconds, no zone; null when
// there is none.
func odooTime(t time.Time, layout string) any {
	if t.IsZero() {
		return nil
	}
	return t.UTC().Format(layout)
}

const (
	isoSeconds = "2006-01-02T15:04:05"
	sqlSeconds = "2006-01-02 15:04:05"
)

type odooArea struct {
	ID     int64  `json:"id"`
	AreaID string `json:"area_id"`
	Name   string `json:"name"`
	Icon   any    `json:"icon"`
}

func areaOf(a *concord.Area) *odooArea {
	if a == nil {
		return nil
	}
	return &odooArea{ID: concord.AreaKey(a.ID), AreaID: a.ID, Name: a.Name, Icon: orFalse(a.Icon)}
}

// odooEntity is an entity as the add-on shows it. An enabled entity without a
// state has false for its state.
type odooEntity struct {
	ID          int64           `json:"id"`
	EntityID    string          `json:"entity_id"`
	Name        string          `json:"name"`
	State       any             `json:"entity_state"`
	Domain      string          `json:"domain"`
	LastChanged any             `json:"last_changed"`
	Attributes  json.RawMessage `json:"attributes"`
}

func (s *Server) odooEntity(home int64, r *concord.Registry, entityID string) odooEntity {
	e := odooEntity{
		ID: r.EntityKey(entityID), EntityID: entityID, Domain: concord.Domain(entityID),
		State: false, Attributes: json.RawMessage("{}"),
	}
	st := s.Live.State(home, entityID)
	e.Name = displayName(r.Entity(entityID), st, entityID)
	if st != nil {
		e.State, e.LastChanged = st.State, odooTime(st.LastChanged, isoSeconds)
		if len(st.Attributes) > 0 {
			e.Attributes = st.Attributes
		}
	}
	return e
}

// displayName is an entity's full name: the state's, else the registry's, else
// its id.
func displayName(e *concord.Entity, st *concord.State, entityID string) string {
	if name := friendlyName(st); name != "" {
		return name
	}
	if e != nil {
		return cmp.Or(e.Name, e.OriginalName, entityID)
	}
	return entityID
}

func friendlyName(st *concord.State) string {
	if st == nil {
		return ""
	}
	var a struct {
		Name string `json:"friendly_name"`
	}
	_ = json.Unmarshal(st.Attributes, &a) // attributes that cannot be read have no name
	return a.Name
}
