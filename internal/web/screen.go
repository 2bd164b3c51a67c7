package web

import (
	"context"
	"errors"
	"time"

	"github.com/concord-home/concord/hass/server"
	"github.com/concord-home/concord/internal/web/hub"
	"github.com/concord-home/concord/internal/web/signin"
)

// screen is one WebSocket connection: a browser's page, or a program.
type screen struct {
	server   *Server
	flow     *flow
	identity signin.Identity
	session  *server.Session
	id       string // correlation id

	ready *readyList
	wake  chan struct{}
	known func() // it has signed in: called once, and at the end
}

// subscribe makes the command with this id a subscription of the feed that open
// returns, and answers the command before the first event.
func (c *screen) subscribe(s *server.Session, id int64, open func(wake func()) *hub.Feed) {
	s.Result(id, nil)
	c.ready.open(id)
	feed := open(func() { c.wakeFeed(id) })
	c.ready.add(id, feed)
	c.server.ws.subscriptions.Inc()
	s.OnUnsubscribe(id, func() {
		feed.Close()
		c.ready.remove(id)
		c.server.ws.subscriptions.Dec()
		c.server.ws.resyncs.Add(float64(feed.Resyncs()))
	})
	c.signal() // a feed may have woken before it was known here
}

// wakeFeed is called by the hub; it must not block.
func (c *screen) wakeFeed(id int64) {
	c.ready.woke(id)
	c.signal()
}

func (c *screen) signal() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// validEvery is how often a connection asks whether its session still holds.
const validEvery = time.Minute

// pump sends what the feeds have until the connection ends.
func (c *screen) pump(ctx context.Context) {
	tick := time.NewTicker(validEvery)
	defer tick.Stop()
	var buf []byte
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if !c.server.sessions.Valid(c.identity.Session.TokenHash) {
				c.flow.Close()
				return
			}
		case <-c.wake:
			buf = c.sendReady(ctx, buf)
		}
	}
}

// sendReady sends everything that the ready feeds have.
func (c *screen) sendReady(ctx context.Context, buf []byte) []byte {
	for {
		id, feed := c.ready.next()
		if feed == nil {
			return buf
		}
		buf = c.sendFeed(ctx, id, feed, buf)
	}
}

// keepBuffer is the largest buffer that a screen keeps for its next event.
const keepBuffer = 64 << 10

func (c *screen) sendFeed(ctx context.Context, id int64, feed *hub.Feed, buf []byte) []byte {
	m := c.server.ws
	for {
		if c.flow.wait(ctx) != nil {
			return buf
		}
		event, more, err := feed.Next(buf[:0])
		if errors.Is(err, hub.ErrBehind) {
			m.dropped.WithLabelValues("behind").Inc()
			c.flow.Close()
			return nil
		}
		if err != nil {
			c.server.Logger.Error("screen cannot be told", "correlation_id", c.id, "error", err)
		}
		if !more {
			return buf
		}
		if !c.session.SendEvent(id, event) {
			return nil
		}
		m.events.Inc()
		if at := feed.Oldest(); !at.IsZero() {
			m.delay.Observe(time.Since(at).Seconds())
			c.server.Tracer.Past("screen", feed.Trace(), at)
		}
		m.bytes.Add(float64(c.flow.sent()))
		if buf = event; cap(buf) > keepBuffer {
			buf = nil
		}
	}
}
