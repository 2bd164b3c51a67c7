package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"
	"sync"
	"time"

	"github.com/coder/websocket"

	"github.com/concord-home/concord/hass/internal/scan"
)

// Session is one authenticated client. Its methods are safe for concurrent
// use, and do not block on the network.
type Session struct {
	server  *Server
	ws      *websocket.Conn
	request *http.Request
	user    any
	lastID  int64 // reader only

	ctx    context.Context
	cancel context.CancelCauseFunc
	over   chan struct{} // closed when serve has returned
	tasks  sync.WaitGroup
	slots  chan struct{} // of background commands

	out outbox

	mu          sync.Mutex
	open        map[int64]bool   // commands without a result so far
	unsubscribe map[int64]func() // by subscription id
	ended       bool
}

func newSession(s *Server, ws *websocket.Conn, r *http.Request) *Session {
	n := &Session{
		server: s, ws: ws, request: r,
		over:        make(chan struct{}),
		slots:       make(chan struct{}, 32),
		open:        make(map[int64]bool),
		unsubscribe: make(map[int64]func()),
	}
	n.ctx, n.cancel = context.WithCancelCause(r.Context())
	n.out.init(s.opts.MaxPending, s.opts.MaxPendingBytes)
	return n
}

// User is what Authenticate returned.
func (s *Session) User() any { return s.user }

// Request is the HTTP request that opened the session.
func (s *Session) Request() *http.Request { return s.request }

// Context ends with the session.
func (s *Session) Context() context.Context { return s.ctx }

// ErrOverload is the reason of a session that was cut because its client did
// not read fast enough.
var ErrOverload = errors.New("client does not read fast enough")

func (s *Session) end(reason error) {
	s.cancel(reason)
}

func (s *Session) serve() {
	defer close(s.over)
	defer s.tasks.Wait()
	defer s.cleanUp()
	// Closed here and not by the reader's context: that would also cut the
	// frame that is being written.
	stop := context.AfterFunc(s.ctx, func() { s.ws.CloseNow() })
	defer stop()
	if !s.authenticate() {
		return
	}
	if s.server.opts.OnSession != nil {
		if ended := s.server.opts.OnSession(s); ended != nil {
			defer ended()
		}
	}
	s.tasks.Go(s.write)
	s.tasks.Go(s.ping)
	s.end(s.read())
}

// cleanUp ends what the session began, after the last command of it was read.
func (s *Session) cleanUp() {
	s.end(errors.New("session over"))
	s.out.close()
	s.ws.CloseNow()
	s.mu.Lock()
	s.ended = true
	all := s.unsubscribe
	s.unsubscribe = nil
	s.mu.Unlock()
	for _, f := range all {
		f()
	}
	if reason := context.Cause(s.ctx); errors.Is(reason, ErrOverload) {
		s.server.opts.Logger.Warn("websocket client dropped", "remote", s.request.RemoteAddr, "reason", reason.Error())
		if s.server.opts.OnDrop != nil {
			s.server.opts.OnDrop(s, reason)
		}
	}
}

func (s *Session) ping() {
	t := time.NewTicker(s.server.opts.PingInterval)
	defer t.Stop()
	for {
		select {
		case <-s.ctx.Done():
			return
		case <-t.C:
		}
		ctx, cancel := context.WithTimeout(s.ctx, s.server.opts.PingInterval/2)
		err := s.ws.Ping(ctx)
		cancel()
		if err != nil {
			s.end(fmt.Errorf("no answer to a ping: %w", err))
			return
		}
	}
}

// read takes commands until the client leaves.
func (s *Session) read() error {
	for {
		s.server.opts.Gate(s.ctx)
		kind, data, err := s.ws.Read(context.Background()) // ended by CloseNow
		if err != nil {
			return err
		}
		if kind != websocket.MessageText || !scan.Valid(data) {
			s.farewell()
			return errors.New("client sent what is not JSON")
		}
		if i := scan.Space(data, 0); data[i] != '[' {
			s.command(data)
			continue
		}
		for it := scan.Array(data); it.Next(); {
			s.command(it.Value)
		}
	}
}

// farewell closes with 1000, as Home Assistant does, after what is pending.
func (s *Session) farewell() {
	s.out.drain(s.ctx, time.Second)
	_ = s.ws.Close(websocket.StatusNormalClosure, "")
}

// command checks one command and runs it.
func (s *Session) command(raw json.RawMessage) {
	r, id, problem := s.parse(raw)
	if problem != nil {
		s.sendError(id, problem)
		return
	}
	s.lastID = r.ID
	if (s.server.opts.Bare[r.Type] || r.Type == "ping") && members(raw) > 2 {
		s.sendError(id, &Error{"invalid_format", "extra keys not allowed."})
		return
	}
	if s.builtIn(r) {
		return
	}
	run := s.server.opts.Commands[r.Type]
	if run == nil {
		s.sendError(id, &Error{"unknown_command", "Unknown command."})
		return
	}
	s.mu.Lock()
	s.open[r.ID] = true
	s.mu.Unlock()
	if !s.server.opts.Background[r.Type] {
		s.run(run, r)
		return
	}
	select {
	case s.slots <- struct{}{}:
	case <-s.ctx.Done():
		return
	}
	s.tasks.Go(func() {
		defer func() { <-s.slots }()
		s.run(run, r)
	})
}

var errFormat = &Error{"invalid_format", "Message incorrectly formatted."}

// parse returns the command, or what is wrong with it and the id to name.
func (s *Session) parse(raw json.RawMessage) (r Request, id json.RawMessage, problem *Error) {
	it := scan.Object(raw)
	id = json.RawMessage("null")
	for it.Next() {
		switch string(it.Key) {
		case "id":
			id = it.Value
		case "type":
			r.Type, _ = scan.String(it.Value)
		}
	}
	if it.Err() != nil {
		return r, json.RawMessage("0"), errFormat
	}
	if json.Unmarshal(id, &r.ID) != nil || r.ID <= 0 || r.Type == "" {
		return r, id, errFormat
	}
	if r.ID <= s.lastID {
		return r, id, &Error{"id_reuse", "Identifier values have to increase."}
	}
	r.Raw = raw
	return r, id, nil
}

func members(raw json.RawMessage) (n int) {
	for it := scan.Object(raw); it.Next(); {
		n++
	}
	return n
}

// builtIn answers the commands of the protocol itself.
func (s *Session) builtIn(r Request) bool {
	switch r.Type {
	case "ping":
		s.out.add(func(b []byte) []byte { return append(appendID(append(b, `{"id":`...), r.ID), `,"type":"pong"}`...) })
		s.flushed()
	case "supported_features":
		var m struct {
			Features map[string]int `json:"features"`
		}
		if err := r.Decode(&m); err != nil {
			s.refuse(r, err)
			return true
		}
		s.out.setCoalesce(m.Features["coalesce_messages"] > 0)
		s.sendResult(r.ID, json.RawMessage("null"))
	case "unsubscribe_events":
		s.unsubscribeEvents(r)
	default:
		return false
	}
	return true
}

func (s *Session) unsubscribeEvents(r Request) {
	var m struct {
		Subscription *int64 `json:"subscription"`
	}
	if err := r.Decode(&m); err != nil || m.Subscription == nil {
		s.refuse(r, &Error{"invalid_format", "required key not provided @ data['subscription']. Got None"})
		return
	}
	s.mu.Lock()
	f := s.unsubscribe[*m.Subscription]
	delete(s.unsubscribe, *m.Subscription)
	s.mu.Unlock()
	if f == nil {
		s.refuse(r, &Error{"not_found", "Subscription not found."})
		return
	}
	f()
	s.sendResult(r.ID, json.RawMessage("null"))
}

// run executes a command and answers for it unless it did so itself.
func (s *Session) run(c Command, r Request) {
	result, err := s.guarded(c, r)
	s.mu.Lock()
	open := s.open[r.ID]
	delete(s.open, r.ID)
	s.mu.Unlock()
	switch {
	case err != nil && open:
		s.refuse(r, err)
	case err != nil:
		s.server.opts.Logger.Error("websocket command ended badly after its result", "command", r.Type, "error", err.Error())
	case open:
		s.sendResult(r.ID, result)
	}
}

// guarded turns a panic of a command into an error of that command.
func (s *Session) guarded(c Command, r Request) (result any, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	return c(s.ctx, s, r)
}

func (s *Session) refuse(r Request, err error) {
	var e *Error
	if !errors.As(err, &e) {
		s.server.opts.Logger.Error("websocket command failed", "command", r.Type, "error", err.Error())
		e = &Error{"unknown_error", "Unknown error"}
	}
	s.sendError(fmt.Appendf(nil, "%d", r.ID), e)
}

// OnUnsubscribe makes the command with this id a subscription: f is called
// once, when the client unsubscribes or the session ends; at once, when it has
// ended already.
func (s *Session) OnUnsubscribe(id int64, f func()) {
	s.mu.Lock()
	ended := s.ended
	if !ended {
		s.unsubscribe[id] = f
	}
	s.mu.Unlock()
	if ended {
		f()
	}
}
