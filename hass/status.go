package hass

import "time"

// LinkState is what a client is doing.
type LinkState string

// The states of a link.
const (
	StateIdle       LinkState = "idle"        // Run was not called, or has ended
	StateConnecting LinkState = "connecting"  // dialling, authenticating or waiting for the next try
	StateConnected  LinkState = "connected"   // events flow
	StateStalled    LinkState = "stalled"     // connected, but the home has gone silent
	StateAuthFailed LinkState = "auth_failed" // final: the home refused the token
)

// Status describes the link to a home. It holds no secrets.
type Status struct {
	State       LinkState
	Since       time.Time     // when State became what it is
	LastMessage time.Time     // when the home last sent anything
	LastError   string        // one line; "" while all is well
	HAVersion   string        // as the home last said, "" before
	Connection  int64         // number of the current or last connection, from 1
	Tries       int           // connection attempts since the last success
	QueuedBytes int           // received, but not yet handled
	Behind      time.Duration // age of the oldest of these
}

// Status returns how the link stands now.
func (c *Client) Status() Status {
	c.mu.Lock()
	s, conn := c.status, c.conn
	c.mu.Unlock()
	if conn != nil {
		s.LastMessage = conn.lastMessage()
		s.QueuedBytes, s.Behind, _ = conn.queue.lag()
	}
	return s
}

// setState changes the state and tells OnStatus. lastError is kept when nil.
func (c *Client) setState(state LinkState, lastError *string) {
	c.mu.Lock()
	changed := c.status.State != state
	if changed {
		c.status.State, c.status.Since = state, time.Now()
	}
	if lastError != nil && c.status.LastError != *lastError {
		c.status.LastError, changed = *lastError, true
	}
	s := c.status
	c.mu.Unlock()
	if changed && c.opts.OnStatus != nil {
		c.opts.OnStatus(s)
	}
}
