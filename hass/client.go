package hass

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"
)

// Client keeps one connection to a home, for ever. Its methods are safe for
// concurrent use.
//
// Events are delivered in stream order, by one goroutine per connection; the
// last event of a connection is handled before OnDisconnect, and OnDisconnect
// returns before the next connection is tried. A handler may take its time:
// the client reads on until Options.QueueBytes are waiting, then stops
// reading, and says so (Status, OnSlow). A handler must not wait for Call:
// while the queue is full, the answer cannot come.
type Client struct {
	opts Options

	mu     sync.Mutex
	subs   []*Subscription
	conn   *Conn // nil unless events flow
	status Status
}

// Position is a place in the stream of a connection.
type Position struct {
	Connection int64 // number of the connection, from 1, for this Client
	Seq        int64 // place of the message, from 1, counting every message after authentication
}

// Event is one event of a subscription.
type Event struct {
	Position Position
	Raw      json.RawMessage // the "event" member; may be kept, must not be changed
	First    bool            // the first event of this subscription on this connection
	Last     bool            // the last event of this subscription in its frame: a good moment to flush
}

// NewClient checks the options. Nothing is dialled before Run.
func NewClient(o Options) (*Client, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	return &Client{opts: o, status: Status{State: StateIdle, Since: time.Now()}}, nil
}

// Run connects, and connects again, until ctx ends (its error is returned) or
// the home refuses the token (ErrAuthInvalid). Call it once.
func (c *Client) Run(ctx context.Context) error {
	wait := c.opts.BackoffMin
	for {
		c.setState(StateConnecting, nil)
		err, established := c.connect(ctx)
		switch {
		case ctx.Err() != nil:
			c.setState(StateIdle, nil)
			return ctx.Err()
		case errors.Is(err, ErrAuthInvalid):
			text := err.Error()
			c.setState(StateAuthFailed, &text)
			return err
		}
		c.report(err)
		if established {
			wait = c.opts.BackoffMin
		}
		if sleep(ctx, time.Duration(float64(wait)*(0.5+rand.Float64()/2))) != nil {
			c.setState(StateIdle, nil)
			return ctx.Err()
		}
		wait = min(2*wait, c.opts.BackoffMax)
	}
}

// report logs an error of the link, but not the same one twice in a row.
func (c *Client) report(err error) {
	text := oneLine(err.Error())
	c.mu.Lock()
	repeated := c.status.LastError == text
	c.mu.Unlock()
	if !repeated {
		c.opts.Logger.Warn("home link down", "error", text)
	}
	c.setState(StateConnecting, &text)
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// connect makes one connection and serves it until it ends.
func (c *Client) connect(ctx context.Context) (err error, established bool) {
	c.mu.Lock()
	c.status.Tries++
	c.mu.Unlock()
	conn, err := dial(ctx, c)
	if err != nil {
		return err, false
	}
	defer conn.stop()
	if err := conn.prepare(ctx); err != nil {
		return conn.cause(err), false
	}
	c.established(conn)
	err = conn.serve(ctx)
	c.mu.Lock()
	c.conn = nil
	c.status.LastMessage = conn.lastMessage()
	c.mu.Unlock()
	if c.opts.OnDisconnect != nil {
		c.opts.OnDisconnect(err)
	}
	return err, true
}

// established makes the connection the one that Call uses and restores the
// subscriptions on it.
func (c *Client) established(conn *Conn) {
	c.mu.Lock()
	c.conn = conn
	c.status.Tries = 0
	subs := append([]*Subscription(nil), c.subs...)
	c.mu.Unlock()
	none := ""
	c.setState(StateConnected, &none)
	c.opts.Logger.Info("home link up", "version", conn.version, "connection", conn.number)
	for _, s := range subs {
		conn.Restore(s)
	}
}

// Subscription is a command whose events a handler wants, on this connection
// and all later ones.
type Subscription struct {
	client  *Client
	cmd     []byte
	err     error
	handler func(Event)
}

// Subscribe declares a subscription: cmd is a command as for Call that answers
// with events. It is sent now, when there is a connection, and again after
// each reconnect. A home that does not know the command or does not allow it is
// logged and shown in Status.LastError; any other refusal drops the connection.
func (c *Client) Subscribe(cmd any, h func(Event)) *Subscription {
	s := &Subscription{client: c, handler: h}
	s.cmd, s.err = encodeCommand(cmd)
	if s.err != nil {
		text := s.err.Error()
		c.opts.Logger.Error("subscription cannot be made", "error", text)
		c.setState(c.Status().State, &text)
		return s
	}
	c.mu.Lock()
	c.subs = append(c.subs, s)
	conn := c.conn
	c.mu.Unlock()
	if conn != nil {
		conn.subscribe(s)
	}
	return s
}

// Close ends the subscription: no event of it is delivered after Close
// returns, except by a call of the handler that is under way.
func (s *Subscription) Close() {
	c := s.client
	c.mu.Lock()
	for i := range c.subs {
		if c.subs[i] == s {
			c.subs = append(c.subs[:i:i], c.subs[i+1:]...)
			break
		}
	}
	conn := c.conn
	c.mu.Unlock()
	if conn != nil {
		conn.unsubscribe(s)
	}
}

// Call sends a command on the current connection and waits for its result,
// which is decoded into into unless that is nil. cmd is anything that encodes
// to a JSON object with "type" and without "id", or a text, which is the type
// of a command without members. The position is the result's own place in the
// stream: events before it were sent before it.
//
// Errors: ErrNotConnected, ErrConnectionLost, *CommandError, ctx's error.
func (c *Client) Call(ctx context.Context, cmd any, into any) (Position, error) {
	c.mu.Lock()
	conn := c.conn
	c.mu.Unlock()
	if conn == nil {
		return Position{}, ErrNotConnected
	}
	return conn.Call(ctx, cmd, into)
}

func decodeResult(raw json.RawMessage, into any) error {
	switch into := into.(type) {
	case nil:
		return nil
	case *json.RawMessage:
		*into = raw
		return nil
	}
	if err := json.Unmarshal(raw, into); err != nil {
		return fmt.Errorf("read result: %w", err)
	}
	return nil
}
