package hass

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"time"
)

// Options says how to reach a home. URL and Token are required; the zero value
// of everything else works.
type Options struct {
	// URL of the home: ws://, wss://, http:// or https://; a missing path is
	// /api/websocket.
	URL string
	// Token is a long-lived access token. It never appears in errors or logs.
	Token string
	// Logger has one line per change of the link, not one per try. Default: silent.
	Logger *slog.Logger
	// HTTPClient dials; give one for a private CA or a proxy. Default: http.DefaultClient.
	HTTPClient *http.Client

	DialTimeout  time.Duration // to connect and authenticate; default 10 s
	WriteTimeout time.Duration // for one frame; default 10 s
	ReadLimit    int64         // bytes of one frame; default 64 MiB

	// Heartbeat is the silence after which a ping is sent; default 4 s. After
	// twice as long the link counts as stalled (StateStalled), after
	// HeartbeatTimeout, default 20 s, it is given up. Bytes of a frame that is
	// still under way count as life, and a slow handler does not count as silence.
	Heartbeat        time.Duration
	HeartbeatTimeout time.Duration

	// BackoffMin and BackoffMax bound the wait between tries; default 250 ms and
	// 30 s. The wait doubles with each try and is cut by a random factor between
	// 0.5 and 1.
	BackoffMin time.Duration
	BackoffMax time.Duration

	// QueueBytes is how much may wait for the handlers before the client stops
	// reading, so that the home holds back; default 64 MiB.
	QueueBytes int

	// OnConnect is called on each new connection, after authentication and
	// before subscriptions are restored (but see Conn.Restore) and any event is
	// delivered. An error drops the connection.
	OnConnect func(ctx context.Context, conn *Conn) error
	// OnDisconnect is called when an established connection ended, after the
	// last event of it was delivered.
	OnDisconnect func(err error)
	// OnStatus is called on each change of Status.State or LastError. It must
	// not block.
	OnStatus func(Status)
	// OnSlow is called when the handlers have fallen more than SlowAfter
	// (default 1 s) behind, once per episode. Nothing is lost until the home
	// itself cuts the connection, which is then restored as always.
	OnSlow    func(Status)
	SlowAfter time.Duration
}

func (o *Options) validate() error {
	u, err := url.Parse(o.URL)
	if err != nil {
		return errors.New("the home's URL is not a URL") // err would repeat it, password and all
	}
	switch u.Scheme {
	case "http":
		u.Scheme = "ws"
	case "https":
		u.Scheme = "wss"
	case "ws", "wss":
	default:
		return fmt.Errorf("the home's URL must begin with ws://, wss://, http:// or https://, not %q", u.Scheme)
	}
	if u.Host == "" {
		return errors.New("the home's URL names no host")
	}
	if u.Path == "" || u.Path == "/" {
		u.Path = "/api/websocket"
	}
	if o.Token == "" {
		return errors.New("the home's access token is missing")
	}
	o.URL = u.String()
	o.defaults()
	return nil
}

func (o *Options) defaults() {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	o.DialTimeout = cmp.Or(o.DialTimeout, 10*time.Second)
	o.WriteTimeout = cmp.Or(o.WriteTimeout, 10*time.Second)
	o.ReadLimit = cmp.Or(o.ReadLimit, 64<<20)
	o.Heartbeat = cmp.Or(o.Heartbeat, 4*time.Second)
	o.HeartbeatTimeout = cmp.Or(o.HeartbeatTimeout, 20*time.Second)
	o.BackoffMin = cmp.Or(o.BackoffMin, 250*time.Millisecond)
	o.BackoffMax = cmp.Or(o.BackoffMax, 30*time.Second)
	o.QueueBytes = cmp.Or(o.QueueBytes, 64<<20)
	o.SlowAfter = cmp.Or(o.SlowAfter, time.Second)
}
