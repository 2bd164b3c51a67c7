// Package server is the server half of Home Assistant's WebSocket API: the
// protocol, without a home behind it. What it answers is given to it as
// commands by name.
//
// Every session has one goroutine that reads and one that writes. The commands
// of a session run one after the other in the order in which they came, except
// those named in Options.Background. What is to be sent waits in the session,
// at most Options.MaxPending messages and Options.MaxPendingBytes; a client
// that does not read fast enough to stay below is disconnected, as Home
// Assistant does. Nothing is ever left out silently.
package server

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/coder/websocket"
)

// Command answers one command. The result is encoded as JSON; a
// json.RawMessage goes out as it is. An *Error reaches the client with its
// code, any other error as "unknown_error", and is logged.
type Command func(ctx context.Context, s *Session, r Request) (result any, err error)

// Request is one command of a client.
type Request struct {
	ID   int64
	Type string
	Raw  json.RawMessage // the whole command, an object
}

// Decode reads the command into v; members that v does not have are ignored.
// The error, an *Error, can be returned as it is.
func (r Request) Decode(v any) error {
	if err := json.Unmarshal(r.Raw, v); err != nil {
		return &Error{Code: "invalid_format", Message: err.Error()}
	}
	return nil
}

// Error is a refusal that the client sees.
type Error struct {
	Code    string `json:"code"` // one of the codes of package hass
	Message string `json:"message"`
}

func (e *Error) Error() string { return e.Message + " (" + e.Code + ")" }

// Options says what a Server answers. Authenticate and Commands are required.
type Options struct {
	// HAVersion is the version that clients are told, "2025.4.4" by default.
	// Clients choose their commands by it.
	HAVersion string
	// Authenticate checks a token and returns who it belongs to. Any error
	// refuses the client.
	Authenticate func(r *http.Request, token string) (user any, err error)
	// Commands by type. "ping", "supported_features" and "unsubscribe_events"
	// are answered by the server itself.
	Commands map[string]Command
	// Background names the commands that may take long: each of them runs in a
	// goroutine of its own, at most 32 at a time for one session.
	Background map[string]bool
	// Bare names the commands without members: anything besides id and type is
	// refused, as Home Assistant does.
	Bare map[string]bool
	// OnSession is called after authentication; the function it returns, unless
	// nil, after the session has ended.
	OnSession func(s *Session) (ended func())
	// OnDrop is told why a session was cut by the server.
	OnDrop func(s *Session, reason error)
	Logger *slog.Logger

	AuthTimeout     time.Duration // default 10 s
	PingInterval    time.Duration // of WebSocket pings; default 55 s
	WriteTimeout    time.Duration // for one frame; default 30 s
	MaxPending      int           // messages; default 4,096
	MaxPendingBytes int           // default 64 MiB, beyond one message
	ReadLimit       int64         // bytes of one frame of a client; default 4 MiB
	// OriginPatterns are hosts whose pages may connect besides the server's
	// own, as in websocket.AcceptOptions; "*" alone allows all, which is right
	// where only the token, never a cookie, tells who somebody is.
	OriginPatterns []string
	// Gate, when set, is called before each frame is read or written and may
	// block: it is how a test makes a server stall.
	Gate func(ctx context.Context)
}

// Server is the HTTP handler for the WebSocket address.
type Server struct {
	opts Options

	mu       sync.Mutex
	sessions map[*Session]bool
	closed   bool
	running  sync.WaitGroup
}

// New checks the options.
func New(o Options) (*Server, error) {
	if o.Authenticate == nil {
		return nil, errors.New("server: Authenticate is missing")
	}
	if o.Commands == nil {
		return nil, errors.New("server: Commands are missing")
	}
	o.HAVersion = cmp.Or(o.HAVersion, "2025.4.4")
	o.AuthTimeout = cmp.Or(o.AuthTimeout, 10*time.Second)
	o.PingInterval = cmp.Or(o.PingInterval, 55*time.Second)
	o.WriteTimeout = cmp.Or(o.WriteTimeout, 30*time.Second)
	o.MaxPending = cmp.Or(o.MaxPending, 4096)
	o.MaxPendingBytes = cmp.Or(o.MaxPendingBytes, 64<<20)
	o.ReadLimit = cmp.Or(o.ReadLimit, 4<<20)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Gate == nil {
		o.Gate = func(context.Context) {}
	}
	return &Server{opts: o, sessions: make(map[*Session]bool)}, nil
}

// ServeHTTP takes a client and serves it until it leaves.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	accept := &websocket.AcceptOptions{OriginPatterns: s.opts.OriginPatterns}
	if len(s.opts.OriginPatterns) == 1 && s.opts.OriginPatterns[0] == "*" {
		accept.OriginPatterns, accept.InsecureSkipVerify = nil, true
	}
	ws, err := websocket.Accept(w, r, accept)
	if err != nil {
		return // Accept has answered
	}
	ws.SetReadLimit(s.opts.ReadLimit)
	session := newSession(s, ws, r)
	if !s.add(session) {
		ws.CloseNow()
		return
	}
	defer s.remove(session)
	session.serve()
}

func (s *Server) add(session *Session) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.sessions[session] = true
	s.running.Add(1)
	return true
}

func (s *Server) remove(session *Session) {
	s.mu.Lock()
	delete(s.sessions, session)
	s.mu.Unlock()
	s.running.Done()
}

// Sessions returns the number of connected clients.
func (s *Server) Sessions() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.sessions)
}

// DisconnectAll cuts all sessions, without a farewell, and waits until they
// have ended. New ones are taken meanwhile. A command must not call it.
func (s *Server) DisconnectAll() {
	s.mu.Lock()
	all := make([]*Session, 0, len(s.sessions))
	for session := range s.sessions {
		all = append(all, session)
	}
	s.mu.Unlock()
	for _, session := range all {
		session.end(errDisconnected)
	}
	for _, session := range all {
		<-session.over
	}
}

// Close cuts all sessions, refuses new ones, and waits until none is left. It
// may be called more than once.
func (s *Server) Close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.DisconnectAll()
	s.running.Wait()
}

var errDisconnected = errors.New("disconnected by the server")
