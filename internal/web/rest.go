package web

import (
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"slices"

	"github.com/concord-home/concord"
	"github.com/concord-home/concord/internal/web/hub"
)

// user serves h to those who have a session.
func (s *Server) user(h handlerFunc) handlerFunc {
	return func(w http.ResponseWriter, r *http.Request) error {
		id, err := s.identify(r)
		if err != nil {
			return err
		}
		return h(w, r.WithContext(context.WithValue(r.Context(), identityKey{}, id)))
	}
}

// restHome returns the home that a request to Home Assistant's REST API is
// about: ?home_id, else the session's.
func (s *Server) restHome(r *http.Request) (concord.HomeStatus, error) {
	var home number
	if text := r.URL.Query().Get("home_id"); text != "" {
		_ = home.UnmarshalJSON([]byte(text)) // never fails
	}
	return s.home(r.Context(), home)
}

// restRoot answers GET /api/ as Home Assistant does.
func (s *Server) restRoot(w http.ResponseWriter, _ *http.Request) error {
	return writeJSON(w, http.StatusOK, map[string]string{"message": "API running."})
}

// restStates answers GET /api/states.
func (s *Server) restStates(w http.ResponseWriter, r *http.Request) error {
	home, err := s.restHome(r)
	if err != nil {
		return err
	}
	states, err := s.Live.States(home.ID)
	if err != nil {
		return err
	}
	return writeBytes(w, http.StatusOK, appendStates(states))
}

// restState answers GET /api/states/<entity_id>.
func (s *Server) restState(w http.ResponseWriter, r *http.Request) error {
	home, err := s.restHome(r)
	if err != nil {
		return err
	}
	st := s.Live.State(home.ID, r.PathValue("entity_id"))
	if st == nil {
		return concord.Errorf(concord.CodeNotFound, "Entity not found.")
	}
	return writeBytes(w, http.StatusOK, hub.AppendState(nil, st))
}

type servicesJSON struct {
	Domain   string          `json:"domain"`
	Services json.RawMessage `json:"services"`
}

// restServices answers GET /api/services: the home's answer to get_services, as
// a list.
func (s *Server) restServices(w http.ResponseWriter, r *http.Request) error {
	home, err := s.restHome(r)
	if err != nil {
		return err
	}
	answer, err := s.Link.Command(r.Context(), home.ID, json.RawMessage(`{"type":"get_services"}`))
	if err != nil {
		return err
	}
	var domains map[string]json.RawMessage
	if err := json.Unmarshal(raw(answer), &domains); err != nil {
		return err
	}
	list := make([]servicesJSON, 0, len(domains))
	for _, domain := range slices.Sorted(maps.Keys(domains)) {
		list = append(list, servicesJSON{domain, domains[domain]})
	}
	return writeJSON(w, http.StatusOK, list)
}

// restCall answers POST /api/services/<domain>/<service> with the list of states
// that Home Assistant would give; Concord does not wait for them, so it is empty.
func (s *Server) restCall(w http.ResponseWriter, r *http.Request) error {
	if !isJSON(r.Header) {
		return concord.Errorf(concord.CodeInvalid, "The request's Content-Type must be application/json")
	}
	if err := mayControl(r.Context()); err != nil {
		return err
	}
	home, err := s.restHome(r)
	if err != nil {
		return err
	}
	var data json.RawMessage
	if err := json.NewDecoder(r.Body).Decode(&data); err != nil {
		return &concord.Error{Code: concord.CodeInvalid, Message: "Data should be valid JSON.", Err: err}
	}
	_, err = s.Link.CallService(r.Context(), home.ID, concord.ServiceCall{
		Domain: r.PathValue("domain"), Service: r.PathValue("service"), Data: data,
	})
	if err != nil {
		return err
	}
	return writeBytes(w, http.StatusOK, []byte("[]"))
}
