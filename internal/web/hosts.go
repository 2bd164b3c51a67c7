package web

import (
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strings"

	"github.com/concord-home/concord"
)

// allowedHosts are the names by which this server lets itself be called. A page
// of another site can make a browser send requests to any address under a name
// of its own (DNS rebinding); it cannot make the browser call that name
// localhost, an IP address, or this machine's name.
type allowedHosts struct {
	any   bool
	names map[string]bool
}

// private are the suffixes that routers at home give to names, and that nobody
// can register.
var private = []string{".local", ".lan", ".home", ".home.arpa", ".internal", ".localdomain", ".fritz.box"}

// newAllowedHosts takes the further names; "*" allows all.
func newAllowedHosts(further []string) allowedHosts {
	h := allowedHosts{names: map[string]bool{"localhost": true, "": true}} // HTTP/1.0 has no Host
	if name, err := os.Hostname(); err == nil {
		name = canonicalHost(name)
		short, _, _ := strings.Cut(name, ".")
		h.names[name], h.names[short] = true, true
		for _, suffix := range private {
			h.names[short+suffix] = true
		}
	}
	for _, name := range further {
		name = strings.TrimSpace(name)
		if u, err := url.Parse(name); err == nil && u.Host != "" {
			name = u.Host // a whole address is as good
		}
		name = canonicalHost(name)
		h.any = h.any || name == "*"
		h.names[name] = true
	}
	return h
}

// canonicalHost is a Host without its port, the final dot, and capitals.
func canonicalHost(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	return strings.ToLower(strings.TrimSuffix(host, "."))
}

func (h allowedHosts) allow(host string) bool {
	host = canonicalHost(host)
	if h.any || h.names[host] || strings.HasSuffix(host, ".localhost") {
		return true
	}
	_, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil
}

// onlyKnownHosts refuses requests under names that are not this server's. The
// token of /metrics is proof enough.
func (s *Server) onlyKnownHosts(next http.Handler) http.Handler {
	hosts := newAllowedHosts(s.AllowedHosts)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if hosts.allow(r.Host) || s.hasMetricsToken(r) {
			next.ServeHTTP(w, r)
			return
		}
		setHeaders(w.Header(), "none")
		writeError(w, r, concord.Errorf(concord.CodeForbidden, "This server does not know itself by that name: add it to ALLOWED_HOSTS"))
	})
}
