package web

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/concord-home/concord"
	"github.com/concord-home/concord/hass/server"
	"github.com/concord-home/concord/internal/web/hub"
)

// Limits of one WebSocket connection.
const (
	maxPendingMessages = 1024
	maxPendingBytes    = 8 << 20 // beyond one message
	maxCommand         = 1 << 20
	maxScreens         = 4096
	maxStrangers       = 256 // connections that have not said who they are yet
	maxSubscriptions   = 256
)

// websockets is the WebSocket half of a Server: its screens, and the hub of each
// home that screens look at.
type websockets struct {
	server *server.Server

	mu      sync.Mutex
	hubs    map[int64]*hub.Hub
	screens map[*screen]struct{}
	stopped bool

	strangers atomic.Int64

	quit chan struct{}
	done sync.WaitGroup

	wsMetrics
}

type wsMetrics struct {
	connected     prometheus.Gauge
	subscriptions prometheus.Gauge
	events        prometheus.Counter
	bytes         prometheus.Counter
	resyncs       prometheus.Counter
	dropped       *prometheus.CounterVec
	commands      *prometheus.CounterVec
	delay         prometheus.Histogram
}

func newWSMetrics(r prometheus.Registerer) wsMetrics {
	f := promauto.With(r)
	return wsMetrics{
		connected:     f.NewGauge(prometheus.GaugeOpts{Name: "concord_ws_screens", Help: "WebSocket connections that are signed in."}),
		subscriptions: f.NewGauge(prometheus.GaugeOpts{Name: "concord_ws_subscriptions", Help: "Subscriptions of all WebSocket connections."}),
		events:        f.NewCounter(prometheus.CounterOpts{Name: "concord_ws_events_total", Help: "Events sent to WebSocket connections."}),
		bytes:         f.NewCounter(prometheus.CounterOpts{Name: "concord_ws_sent_bytes_total", Help: "Bytes sent to WebSocket connections."}),
		resyncs: f.NewCounter(prometheus.CounterOpts{
			Name: "concord_ws_resyncs_total", Help: "Times that a subscription was too slow and got the states in full instead of every change; counted when it ends.",
		}),
		dropped: f.NewCounterVec(prometheus.CounterOpts{
			Name: "concord_ws_dropped_total", Help: "WebSocket connections cut by the server, by reason.",
		}, []string{"reason"}),
		commands: f.NewCounterVec(prometheus.CounterOpts{
			Name: "concord_ws_commands_total", Help: "Commands of WebSocket connections, by type and outcome (ok or an error's code).",
		}, []string{"type", "outcome"}),
		delay: f.NewHistogram(prometheus.HistogramOpts{
			Name: "concord_ws_event_delay_seconds", Help: "Time from a change's arrival from the home to its handing over to a screen's connection.",
			Buckets: []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 5},
		}),
	}
}

// newWebsockets builds the protocol server. The commands are listed in commands.go.
func (s *Server) newWebsockets() (*websockets, error) {
	w := &websockets{
		hubs: map[int64]*hub.Hub{}, screens: map[*screen]struct{}{}, quit: make(chan struct{}), wsMetrics: newWSMetrics(s.Registerer),
	}
	commands, background := s.commands()
	var err error
	w.server, err = server.New(server.Options{
		Authenticate: s.authenticateScreen, Commands: commands, Background: background,
		OnSession: s.beginScreen,
		OnDrop:    func(*server.Session, error) { w.dropped.WithLabelValues("overload").Inc() },
		Logger:    s.Logger, MaxPending: maxPendingMessages, MaxPendingBytes: maxPendingBytes, ReadLimit: maxCommand,
		WriteTimeout: 20 * time.Second,
	})
	return w, err
}

type screenKey struct{}

// serveWebsocket takes a connection over. It returns when the connection ends.
//
// A page of another site is refused before that. A cookie that does not hold is
// not: the page learns from auth_invalid, never from the status of a refused
// handshake, that it must sign in, and a program may show a token instead. Who has
// no good cookie is a stranger until then, and there are only so many of those:
// they cannot take the places of others.
func (s *Server) serveWebsocket(w http.ResponseWriter, r *http.Request) error {
	if r.Header.Get("Origin") != "" && !sameOrigin(r) {
		return concord.Errorf(concord.CodeForbidden, "Cross-origin request refused")
	}
	if s.ws.server.Sessions() >= maxScreens {
		return concord.Errorf(concord.CodeTooMany, "Too many screens are connected")
	}
	known := func() {}
	if _, err := s.identify(r); err != nil {
		if s.ws.strangers.Add(1) > maxStrangers {
			s.ws.strangers.Add(-1)
			return concord.Errorf(concord.CodeTooMany, "Too many connections have not signed in")
		}
		known = sync.OnceFunc(func() { s.ws.strangers.Add(-1) })
	}
	defer known()
	f := &flow{}
	c := &screen{
		server: s, flow: f, id: concord.CorrelationID(r.Context()), ready: newReadyList(), wake: make(chan struct{}, 1), known: known,
	}
	s.ws.server.ServeHTTP(&flowWriter{w, f}, r.WithContext(context.WithValue(r.Context(), screenKey{}, c)))
	s.ws.bytes.Add(float64(f.sent()))
	return nil
}

var errNotSignedIn = errors.New("not signed in")

// authenticateScreen accepts the word "session" from this server's own page,
// which has a cookie that scripts cannot read.
func (s *Server) authenticateScreen(r *http.Request, token string) (any, error) {
	c, isScreen := r.Context().Value(screenKey{}).(*screen)
	if !isScreen || token != "session" || !sameOrigin(r) {
		return nil, errNotSignedIn
	}
	id, err := s.identify(r)
	if err != nil {
		return nil, err
	}
	c.identity = id
	c.known()
	return c, nil
}

func sameOrigin(r *http.Request) bool {
	origin, err := url.Parse(r.Header.Get("Origin"))
	return err == nil && origin.Host != "" && strings.EqualFold(origin.Host, r.Host)
}

// beginScreen starts the pump of a connection that has signed in.
func (s *Server) beginScreen(session *server.Session) func() {
	c := session.User().(*screen) // what authenticateScreen returned
	c.session = session
	ctx, cancel := context.WithCancel(session.Context())
	var pump sync.WaitGroup
	pump.Go(func() { c.pump(ctx) })
	s.ws.mu.Lock()
	s.ws.screens[c] = struct{}{}
	s.ws.mu.Unlock()
	s.ws.connected.Inc()
	s.Logger.Debug("screen connected", "correlation_id", c.id, "user", c.identity.User.ID)
	return func() {
		cancel()
		pump.Wait()
		s.ws.mu.Lock()
		delete(s.ws.screens, c)
		s.ws.mu.Unlock()
		s.ws.connected.Dec()
		s.Logger.Debug("screen left", "correlation_id", c.id)
	}
}

// closeScreens ends the connections of a session that was signed out.
func (w *websockets) closeScreens(session [32]byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for c := range w.screens {
		if c.identity.Session.TokenHash == session {
			c.flow.Close()
		}
	}
}

// hub returns the hub of a home; the first who asks begins it.
func (s *Server) hub(home int64) (*hub.Hub, error) {
	w := s.ws
	w.mu.Lock()
	defer w.mu.Unlock()
	if h := w.hubs[home]; h != nil {
		return h, nil
	}
	if w.stopped {
		return nil, concord.Errorf(concord.CodeUnavailable, "The server is stopping")
	}
	h, err := hub.New(s.Live, home, hub.Options{Logger: s.Logger})
	if err != nil {
		return nil, err
	}
	w.hubs[home] = h
	return h, nil
}

// stop ends every connection and hub, and waits for them.
func (w *websockets) stop() {
	w.mu.Lock()
	if w.stopped {
		w.mu.Unlock()
		return
	}
	w.stopped = true
	hubs := w.hubs
	w.mu.Unlock()
	close(w.quit)
	w.server.Close()
	for _, h := range hubs {
		h.Stop()
	}
	w.done.Wait()
}
