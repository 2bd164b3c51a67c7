package web

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/concord-home/concord"
	"github.com/concord-home/concord/hass/server"
	"github.com/concord-home/concord/internal/web/hub"
)

// feed subscribes the screen, unless it has too many subscriptions already.
func (s *Server) feed(c *screen, r server.Request, open func(wake func()) *hub.Feed) error {
	if c.ready.len() >= maxSubscriptions {
		return concord.Errorf(concord.CodeTooMany, "Too many subscriptions on one connection")
	}
	c.subscribe(c.session, r.ID, open)
	return nil
}

// wsSubscribeEntities sends the states of the entities named, or of all, in
// Home Assistant's compressed form.
func (s *Server) wsSubscribeEntities(ctx context.Context, c *screen, r server.Request) (any, error) {
	var p struct {
		IDs *[]string `json:"entity_ids"`
	}
	if err := r.Decode(&p); err != nil {
		return nil, err
	}
	var ids []string
	if p.IDs != nil {
		ids = slices.Concat([]string{}, *p.IDs) // not nil: none is not all
		for _, id := range ids {
			if domain, name, ok := strings.Cut(id, "."); !ok || domain == "" || name == "" {
				return nil, &server.Error{Code: "invalid_format", Message: "Entity ID " + id + " is an invalid entity ID"}
			}
		}
	}
	h, err := s.wsHub(ctx, c, r)
	if err != nil {
		return nil, err
	}
	return nil, s.feed(c, r, func(wake func()) *hub.Feed { return h.Entities(ids, wake) })
}

// registryEvents are the events that say that the registry changed.
var registryEvents = []string{
	"area_registry_updated", "device_registry_updated", "entity_registry_updated", "floor_registry_updated", "label_registry_updated",
}

// wsSubscribeEvents knows the events that follow from the live model.
func (s *Server) wsSubscribeEvents(ctx context.Context, c *screen, r server.Request) (any, error) {
	var p struct {
		Type string `json:"event_type"`
	}
	if err := r.Decode(&p); err != nil {
		return nil, err
	}
	h, err := s.wsHub(ctx, c, r)
	if err != nil {
		return nil, err
	}
	switch {
	case p.Type == "state_changed":
		return nil, s.feed(c, r, h.Events)
	case slices.Contains(registryEvents, p.Type):
		event := json.RawMessage(`{"event_type":"` + p.Type + `","data":{"action":"update"},"origin":"LOCAL"}`)
		return nil, s.feed(c, r, func(wake func()) *hub.Feed { return h.Registry(event, wake) })
	}
	return nil, &server.Error{Code: "not_supported", Message: "Events of this type are not passed on"}
}

// wsSubscribeOverview sends floors, areas and their summaries.
func (s *Server) wsSubscribeOverview(ctx context.Context, c *screen, r server.Request) (any, error) {
	home, err := s.wsHome(ctx, r)
	if err != nil {
		return nil, err
	}
	h, err := s.hub(home.ID)
	if err != nil {
		return nil, err
	}
	extra := func() json.RawMessage { return s.overviewHead(home.ID, c.identity.User) }
	return nil, s.feed(c, r, func(wake func()) *hub.Feed { return h.Overview(extra, wake) })
}

type homeName struct {
	ID   int64  `json:"id"`
	Name string `json:"name"`
}

// overviewHead is who looks at what.
func (s *Server) overviewHead(homeID int64, user concord.User) json.RawMessage {
	head := struct {
		Home  homeName          `json:"home"`
		Homes []homeName        `json:"homes"`
		User  map[string]string `json:"user"`
	}{Homes: []homeName{}, User: map[string]string{"name": user.Name, "role": string(user.Role)}}
	for _, h := range s.Live.Homes() {
		if !h.Active {
			continue
		}
		head.Homes = append(head.Homes, homeName{h.ID, h.Name})
		if h.ID == homeID {
			head.Home = homeName{h.ID, h.Name}
		}
	}
	b, _ := json.Marshal(head) // texts and numbers can always be encoded
	return b
}

// wsSubscribeArea sends what stands in an area, unless it is what the page's
// shell brought along.
func (s *Server) wsSubscribeArea(ctx context.Context, c *screen, r server.Request) (any, error) {
	var p struct {
		Area  string `json:"area_id"`
		Known string `json:"known"`
	}
	if err := r.Decode(&p); err != nil {
		return nil, err
	}
	h, err := s.wsHub(ctx, c, r)
	if err != nil {
		return nil, err
	}
	if !h.HasArea(p.Area) {
		return nil, concord.Errorf(concord.CodeNotFound, "There is no area %q", p.Area)
	}
	return nil, s.feed(c, r, func(wake func()) *hub.Feed { return h.Area(p.Area, p.Known, wake) })
}

// wsSubscribeStatus sends how the link, the database and the spool are.
func (s *Server) wsSubscribeStatus(ctx context.Context, c *screen, r server.Request) (any, error) {
	h, err := s.wsHub(ctx, c, r)
	if err != nil {
		return nil, err
	}
	return nil, s.feed(c, r, func(wake func()) *hub.Feed { return h.Status(s.statusEvent, wake) })
}

type partJSON struct {
	Up      bool    `json:"up"`
	Since   int64   `json:"since,omitempty"`
	Error   *string `json:"error"`
	Pending *int64  `json:"pending,omitempty"`
}

func partOf(p concord.PartStatus) partJSON {
	j := partJSON{Up: p.Up, Since: hub.Millis(p.Since)}
	if p.Error != "" {
		j.Error = &p.Error
	}
	return j
}

// statusEvent says how everything is that the page stands on. The times come
// from the live model: the hub is not told of them.
func (s *Server) statusEvent(h concord.HomeStatus) json.RawMessage {
	if now, err := s.Live.Home(h.ID); err == nil {
		h = now
	}
	var age int64
	if h.Link != concord.LinkConnected && !h.LastMessage.IsZero() {
		age = max(time.Since(h.LastMessage).Milliseconds(), 0)
	}
	spool := partOf(s.spool())
	var pending int64
	if s.Health != nil {
		pending = s.Health.SpoolPending()
	}
	spool.Pending = &pending
	b, _ := json.Marshal(struct {
		Kind        string            `json:"kind"`
		Home        int64             `json:"home_id"`
		Link        concord.LinkState `json:"link"`
		Since       int64             `json:"since"`
		Age         int64             `json:"data_age_ms"`
		LastMessage int64             `json:"last_message"`
		Error       any               `json:"error"`
		Database    partJSON          `json:"database"`
		Spool       partJSON          `json:"spool"`
		Version     string            `json:"version"`
		HAVersion   string            `json:"ha_version"`
	}{
		"status", h.ID, h.Link, hub.Millis(h.Since), age, hub.Millis(h.LastMessage), orNull(h.Error),
		partOf(s.database()), spool, s.Version, h.Version,
	}) // texts and numbers can always be encoded
	return b
}

// wsSelectHome has the session look at another home from now on.
func (s *Server) wsSelectHome(ctx context.Context, c *screen, r server.Request) (any, error) {
	var p struct {
		Home number `json:"home_id"`
	}
	if err := r.Decode(&p); err != nil {
		return nil, err
	}
	if p.Home.state != numberGood {
		return nil, &server.Error{Code: "invalid_format", Message: "home_id is required"}
	}
	home, err := s.home(ctx, p.Home)
	if err != nil {
		return nil, err
	}
	s.sessions.ChooseHome(ctx, c.identity.Session.TokenHash, home.ID)
	return homeName{home.ID, home.Name}, nil
}

// How often the parts are looked at, and how often a page is told that
// something is still down.
const (
	lookEvery = time.Second
	tellEvery = 5
)

// watchHealth tells status subscriptions what the hubs do not see.
func (w *websockets) watchHealth(s *Server) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	database, spool := s.database(), s.spool()
	for n := 0; ; n++ {
		select {
		case <-w.quit:
			return
		case <-tick.C:
		}
		db, sp := s.database(), s.spool()
		changed := db != database || sp != spool
		database, spool = db, sp
		if changed || n%tellEvery == 0 {
			w.tell(s, changed || !db.Up || !sp.Up)
		}
	}
}

// tell has the hubs send their status again: all of them, or those whose home
// is not connected.
func (w *websockets) tell(s *Server, all bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for id, h := range w.hubs {
		home, err := s.Live.Home(id)
		if all || err != nil || home.Link != concord.LinkConnected {
			h.TouchStatus()
		}
	}
}
