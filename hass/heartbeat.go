package hass

import (
	"errors"
	"slices"
	"time"
)

// heartbeat watches for silence and for handlers that cannot keep up.
func (c *Conn) heartbeat() {
	o := &c.client.opts
	tick := time.NewTicker(min(o.Heartbeat, o.SlowAfter, time.Second))
	defer tick.Stop()
	var pinged time.Time
	slow := false
	for {
		select {
		case <-c.ctx.Done():
			return
		case <-tick.C:
		}
		_, behind, blocked := c.queue.lag()
		slow = c.tellSlow(behind, slow)
		if blocked {
			c.lastIn.Store(time.Now().UnixNano()) // it is we who do not read
			continue
		}
		last := c.lastMessage()
		idle := time.Since(last)
		if idle >= o.Heartbeat && time.Since(pinged) >= o.Heartbeat {
			pinged = time.Now()
			c.spawn(c.ping)
		}
		c.tellStalled(idle > 2*o.Heartbeat)
		if idle > o.HeartbeatTimeout {
			c.end(ErrSilent)
			return
		}
	}
}

// ping asks for a sign of life. The answer is noticed by the reader.
func (c *Conn) ping() {
	cmd, _ := encodeCommand("ping")
	_, _ = c.start(cmd, nil) // an error has ended the connection
}

func (c *Conn) tellSlow(behind time.Duration, slow bool) bool {
	o := &c.client.opts
	switch {
	case !slow && behind > o.SlowAfter:
		s := c.client.Status()
		o.Logger.Warn("handlers of the home's events are slow", "behind", behind.String(), "queued_bytes", s.QueuedBytes)
		if o.OnSlow != nil {
			o.OnSlow(s)
		}
		return true
	case slow && behind == 0:
		o.Logger.Info("handlers of the home's events have caught up")
		return false
	}
	return slow
}

func (c *Conn) tellStalled(stalled bool) {
	c.client.mu.Lock()
	current, state := c.client.conn == c, c.client.status.State
	c.client.mu.Unlock()
	switch {
	case !current:
	case stalled && state == StateConnected:
		c.client.opts.Logger.Warn("home is silent")
		c.client.setState(StateStalled, nil)
	case !stalled && state == StateStalled:
		c.client.opts.Logger.Info("home speaks again")
		c.client.setState(StateConnected, nil)
	}
}

// Restore sends a subscription of the client, as happens to all of them after
// OnConnect. There it is sent before what OnConnect asks next, of which no event
// is missed then. Handlers are called after OnConnect has returned, so what it
// waits for must not be behind more than Options.QueueBytes of events. A
// subscription is sent once.
func (c *Conn) Restore(s *Subscription) {
	c.mu.Lock()
	restored := c.restored[s]
	c.restored[s] = true
	c.mu.Unlock()
	if !restored {
		c.subscribe(s)
	}
}

// subscribe sends the subscription's command and sees to its answer.
func (c *Conn) subscribe(s *Subscription) {
	ch, err := c.start(s.cmd, func(id int64) { c.active[id] = &activeSub{Subscription: s} })
	if err != nil {
		return // the connection has ended
	}
	c.spawn(func() { c.subscribed(s, ch) })
}

// final are refusals that a new connection would get too.
var final = []string{CodeUnknownCommand, CodeUnauthorized, CodeInvalidFormat, CodeNotFound, CodeNotSupported, CodeNotAllowed}

func (c *Conn) subscribed(s *Subscription, ch chan answer) {
	_, err := c.result(<-ch, nil)
	var refused *CommandError
	switch {
	case err == nil || errors.Is(err, ErrConnectionLost):
	case errors.As(err, &refused) && slices.Contains(final, refused.Code):
		text := oneLine("the home refused a subscription: " + err.Error())
		c.client.opts.Logger.Error("subscription refused", "command", string(s.cmd), "error", text)
		c.client.setState(c.client.Status().State, &text)
	default:
		c.end(err)
	}
}

// unsubscribe stops the delivery at once and tells the home.
func (c *Conn) unsubscribe(s *Subscription) {
	c.mu.Lock()
	var id int64
	for i, a := range c.active {
		if a.Subscription == s {
			id = i
			delete(c.active, i)
		}
	}
	c.mu.Unlock()
	if id == 0 {
		return
	}
	cmd, err := encodeCommand(map[string]any{"type": "unsubscribe_events", "subscription": id})
	if err == nil {
		_, _ = c.start(cmd, nil) // an error has ended the connection, and with it the subscription
	}
}
