package simhome

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"

	"github.com/concord-home/concord/hass"
	"github.com/concord-home/concord/hass/server"
)

// rest adds the part of the REST API that scripts use most.
func (h *Home) rest() {
	h.mux.HandleFunc("GET /api/{$}", h.authorized(func(http.ResponseWriter, *http.Request) (any, error) {
		return map[string]string{"message": "API running."}, nil
	}))
	h.mux.HandleFunc("GET /api/states", h.authorized(func(http.ResponseWriter, *http.Request) (any, error) {
		return h.States(), nil
	}))
	h.mux.HandleFunc("GET /api/states/{id}", h.authorized(func(_ http.ResponseWriter, r *http.Request) (any, error) {
		if s := h.State(r.PathValue("id")); s != nil {
			return s, nil
		}
		return nil, &server.Error{Code: hass.CodeNotFound, Message: "Entity not found."}
	}))
	h.mux.HandleFunc("POST /api/services/{domain}/{service}", h.authorized(h.restService))
	h.mux.HandleFunc("GET /api/camera_proxy/{id}", h.authorized(h.picture))
	h.mux.HandleFunc("GET /api/image_proxy/{id}", h.authorized(h.picture))
}

func (h *Home) authorized(f func(http.ResponseWriter, *http.Request) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		if _, err := h.authenticate(r, token); err != nil {
			http.Error(w, "401: Unauthorized", http.StatusUnauthorized)
			return
		}
		v, err := f(w, r)
		status := http.StatusOK
		if err != nil {
			v, status = map[string]string{"message": err.Error()}, http.StatusBadRequest
			if e, ok := err.(*server.Error); ok && e.Code == hass.CodeNotFound {
				v, status = map[string]string{"message": e.Message}, http.StatusNotFound
			}
		}
		if v == nil {
			return // f has answered
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(v) // the client has gone
	}
}

func (h *Home) restService(_ http.ResponseWriter, r *http.Request) (any, error) {
	var data json.RawMessage
	if r.ContentLength != 0 {
		if err := json.NewDecoder(http.MaxBytesReader(nil, r.Body, 1<<20)).Decode(&data); err != nil {
			return nil, &server.Error{Code: hass.CodeInvalidFormat, Message: "Data should be valid JSON."}
		}
	}
	_, err := h.CallService(r.Context(), r.PathValue("domain"), r.PathValue("service"), data, nil)
	return []any{}, err
}

// picture draws something for cameras and images: the sky over the house.
func (h *Home) picture(w http.ResponseWriter, r *http.Request) (any, error) {
	if h.State(r.PathValue("id")) == nil {
		return nil, &server.Error{Code: hass.CodeNotFound, Message: "Entity not found."}
	}
	w.Header().Set("Content-Type", "image/png")
	_, _ = w.Write(drawPicture(r.PathValue("id"))) // the client has gone
	return nil, nil
}

// removeEntry removes an entity for good.
func (h *Home) removeEntry(_ context.Context, _ *server.Session, r server.Request) (any, error) {
	var m struct {
		EntityID string `json:"entity_id"`
	}
	if err := r.Decode(&m); err != nil {
		return nil, err
	}
	if !h.Remove(m.EntityID) {
		return nil, &server.Error{Code: hass.CodeNotFound, Message: "Entity not found"}
	}
	return nil, nil
}
