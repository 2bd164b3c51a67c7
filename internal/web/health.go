package web

import (
	"crypto/subtle"
	"net/http"
	"net/netip"
	"strings"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/concord-home/concord"
)

// live says that the process answers.
func (s *Server) live(w http.ResponseWriter, _ *http.Request) error {
	return writeJSON(w, http.StatusOK, map[string]string{"status": "live"})
}

// ready says whether pages can be served. A stopped database or an unreachable
// home does not take that away, so both are told and neither decides. A Concord
// that stands by for another has nothing to show.
func (s *Server) ready(w http.ResponseWriter, _ *http.Request) error {
	homes := s.Live.Homes()
	connected := 0
	for _, h := range homes {
		if h.Link == concord.LinkConnected {
			connected++
		}
	}
	status, code := "ready", http.StatusOK
	if s.Standby != nil && s.Standby() {
		status, code = "standby", http.StatusServiceUnavailable
	}
	spool := s.spool()
	return writeJSON(w, code, map[string]any{
		"status":        status,
		"database":      s.database().Up,
		"spool":         spool.Up,
		"spool_trouble": spool.Error,
		"homes":         map[string]int{"total": len(homes), "connected": connected},
	})
}

func (s *Server) database() concord.PartStatus {
	if s.Health == nil {
		return concord.PartStatus{Up: true}
	}
	return s.Health.Database()
}

func (s *Server) spool() concord.PartStatus {
	if s.Health == nil {
		return concord.PartStatus{Up: true}
	}
	return s.Health.Spool()
}

// showMetrics is open to this machine, and to whoever has the token.
func (s *Server) showMetrics(w http.ResponseWriter, r *http.Request) error {
	if s.Gatherer == nil {
		return concord.Errorf(concord.CodeNotFound, "There are no metrics")
	}
	if !s.hasMetricsToken(r) && !direct(r) {
		return concord.Errorf(concord.CodeUnauthorized, "Metrics need the bearer token of METRICS_TOKEN")
	}
	promhttp.HandlerFor(s.Gatherer, promhttp.HandlerOpts{}).ServeHTTP(w, r)
	return nil
}

func (s *Server) hasMetricsToken(r *http.Request) bool {
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	return ok && s.MetricsToken != "" && subtle.ConstantTimeCompare([]byte(token), []byte(s.MetricsToken)) == 1
}

// direct reports whether the request comes from this machine and not through a
// proxy on it.
func direct(r *http.Request) bool {
	for _, h := range []string{"X-Forwarded-For", "Forwarded", "X-Real-Ip", "Via"} {
		if r.Header.Get(h) != "" {
			return false
		}
	}
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	return err == nil && peer.Addr().Unmap().IsLoopback()
}
