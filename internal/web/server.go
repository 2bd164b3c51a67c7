package web

import (
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/concord-home/concord"
	"github.com/concord-home/concord/internal/spans"
	"github.com/concord-home/concord/internal/web/signin"
)

// Options sets up a [Server]. Live, Link, Users and Sessions are required.
type Options struct {
	Live     concord.Live
	Link     concord.Link
	Users    concord.UserService
	Sessions concord.SessionService

	Reconciler  concord.Reconciler     // nil: {"sync": true} is refused
	Reconnector concord.Reconnector    // nil: websocket_restart is refused
	Health      concord.Health         // nil: everything counts as up
	History     concord.HistoryService // nil: charts come from the home alone
	Ledger      concord.Ledger         // nil: /health/serialization and concord/health know nothing

	Page http.Handler // the page's files and its shell; nil serves none

	Registerer   prometheus.Registerer // nil: no metrics are kept
	Gatherer     prometheus.Gatherer   // what /metrics shows; nil: no /metrics
	MetricsToken string                // opens /metrics to others than this machine
	AllowedHosts []string              // names of this server beside localhost, its addresses and the machine's own; "*" is any

	Logger  *slog.Logger
	Tracer  *spans.Tracer
	Version string
	// Standby tells that another Concord serves the homes, so that this one is not
	// ready; nil means never.
	Standby func() bool
	// TrustProxy believes X-Forwarded-For and X-Forwarded-Proto. Set it only when
	// every request comes through a proxy that sets them.
	TrustProxy bool
	// SyncTimeout bounds a reconciliation that a request waits for; 0 is 60 s.
	SyncTimeout time.Duration
	// RefreshSessions and StoreSessions are [signin.Options] RefreshEvery and
	// StoreEvery.
	RefreshSessions, StoreSessions time.Duration
}

func (o *Options) validate() error {
	switch {
	case o.Live == nil:
		return errors.New("web: Options.Live is missing")
	case o.Link == nil:
		return errors.New("web: Options.Link is missing")
	case o.Users == nil || o.Sessions == nil:
		return errors.New("web: Options.Users or Options.Sessions is missing")
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.SyncTimeout == 0 {
		o.SyncTimeout = time.Minute
	}
	return nil
}

// Server answers HTTP requests. It begins work of its own only with Start.
type Server struct {
	Options
	sessions *signin.Sessions
	metrics  *metrics
	areas    areaCache
	trends   trendCache
	ws       *websockets
	handler  http.Handler
	started  bool
}

// New returns a Server that has not begun.
func New(o Options) (*Server, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	s := &Server{Options: o, metrics: newMetrics(o.Registerer)}
	s.sessions = signin.NewSessions(signin.Options{
		Users: o.Users, Sessions: o.Sessions, Health: o.Health, Logger: o.Logger,
		RefreshEvery: o.RefreshSessions, StoreEvery: o.StoreSessions,
	})
	var err error
	if s.ws, err = s.newWebsockets(); err != nil {
		return nil, err
	}
	s.handler = s.routes()
	return s, nil
}

// Handler returns the handler of every route. WebSocket connections that it
// took over end with Stop.
func (s *Server) Handler() http.Handler { return s.handler }

// Start begins to follow sessions and the health of the parts. It is safe twice.
func (s *Server) Start() {
	if s.started {
		return
	}
	s.started = true
	s.sessions.Start()
	s.ws.done.Go(func() { s.ws.watchHealth(s) })
}

// Stop ends what Start began and every WebSocket connection, and waits for
// them. It is safe twice and before Start.
func (s *Server) Stop() {
	s.ws.stop()
	s.sessions.Stop()
}

// NewHTTPServer returns an http.Server for handler with every limit set.
func NewHTTPServer(handler http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       30 * time.Second,
		WriteTimeout:      90 * time.Second, // longer than any handler may take
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
}
