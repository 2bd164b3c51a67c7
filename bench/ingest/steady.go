package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/cookiejar"
	"slices"
	"sync"
	"time"

	"github.com/concord-home/concord"
	"github.com/concord-home/concord/hass"
	"github.com/concord-home/concord/internal/link"
	"github.com/concord-home/concord/internal/web"
	"github.com/concord-home/concord/internal/web/signin"
)

// steady is what a rate that goes on for long does to rows and to a screen that
// shows every entity.
type steady struct {
	Rate     float64 `json:"rate"`
	Seconds  float64 `json:"seconds"`
	Sent     int64   `json:"changes_sent"`
	Stored   int64   `json:"rows_in_history"`
	LagFirst float64 `json:"lag_first_third"` // changes on their way, mean
	LagLast  float64 `json:"lag_last_third"`
	RowP50   float64 `json:"row_p50_ms"`
	RowP99   float64 `json:"row_p99_ms"`
	Shown    int     `json:"changes_shown"`
	ShownP50 float64 `json:"screen_p50_ms"`
	ShownP99 float64 `json:"screen_p99_ms"`
}

// grows tells a lag that grew by more than a tenth of a second's changes.
func (r steady) grows() bool { return r.LagLast > r.LagFirst+r.Rate/10 }

func (s *system) steady(ctx context.Context, rate float64, length time.Duration) (steady, error) {
	screen, stop, err := s.openScreen(ctx)
	if err != nil {
		return steady{}, err
	}
	defer stop()
	before, err := s.countHistory(ctx)
	if err != nil {
		return steady{}, err
	}
	sent := s.Home.Emitted()
	lag := s.Lag()
	watch, end := context.WithCancel(ctx)
	var thirds [3]mean
	var sampling sync.WaitGroup
	sampling.Go(func() { sample(watch, length, lag, &thirds) })
	l, err := s.latency(ctx, rate, length)
	end()
	sampling.Wait()
	if err != nil {
		return steady{}, err
	}
	after, err := s.countHistory(ctx)
	r := steady{
		Rate: rate, Seconds: length.Seconds(), Sent: s.Home.Emitted() - sent, Stored: after - before,
		LagFirst: thirds[0].value(), LagLast: thirds[2].value(), RowP50: l.P50, RowP99: l.P99,
	}
	r.Shown, r.ShownP50, r.ShownP99 = screen.summary()
	return r, err
}

func (s *system) countHistory(ctx context.Context) (n int64, err error) {
	return n, s.conn.QueryRow(ctx, `select count(*) from history where home_id = $1`, s.ID).Scan(&n)
}

type mean struct {
	sum float64
	n   int
}

func (m mean) value() float64 { return m.sum / float64(max(m.n, 1)) }

func sample(ctx context.Context, length time.Duration, lag func() int64, thirds *[3]mean) {
	begin := time.Now()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			third := int(3 * now.Sub(begin) / length)
			if third > 2 {
				return
			}
			thirds[third].sum += float64(lag())
			thirds[third].n++
		}
	}
}

// screen notes when changes reach a client's socket.
type screen struct {
	mu    sync.Mutex
	waits []float64 // ms
	first chan struct{}
	once  sync.Once
}

func (c *screen) event(e hass.Event) {
	now := time.Now()
	var changes hass.EntitiesEvent
	if changes.Decode(e.Raw) != nil {
		return
	}
	if e.First {
		c.once.Do(func() { close(c.first) })
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range changes.Changed {
		d := &changes.Changed[i]
		if d.Has&(hass.HasLastChanged|hass.HasLastUpdated) == 0 {
			continue
		}
		at := d.LastUpdated
		if at.IsZero() {
			at = d.LastChanged
		}
		c.waits = append(c.waits, now.Sub(at).Seconds()*1e3)
	}
}

func (c *screen) summary() (n int, p50, p99 float64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.waits) == 0 {
		return 0, 0, 0
	}
	slices.Sort(c.waits)
	return len(c.waits), c.waits[len(c.waits)/2], c.waits[len(c.waits)*99/100]
}

// openScreen serves the live model as Concord does, and connects one client that
// shows every entity.
func (s *system) openScreen(ctx context.Context) (*screen, func(), error) {
	address, closeWeb, err := s.serve(ctx)
	if err != nil {
		return nil, nil, err
	}
	client, err := signIn(address)
	if err != nil {
		closeWeb()
		return nil, nil, err
	}
	c := &screen{first: make(chan struct{})}
	ha, err := hass.NewClient(hass.Options{URL: "ws://" + address + "/api/websocket", Token: "session", HTTPClient: client})
	if err != nil {
		closeWeb()
		return nil, nil, err
	}
	ha.Subscribe(hass.Command{"type": "subscribe_entities"}, c.event)
	running, cancel := context.WithCancel(ctx)
	var done sync.WaitGroup
	done.Go(func() { _ = ha.Run(running) })
	stop := func() { cancel(); done.Wait(); closeWeb() }
	select {
	case <-c.first:
		return c, stop, nil
	case <-time.After(30 * time.Second):
		stop()
		return nil, nil, errors.New("the screen got no states")
	}
}

const password = "benchmark"

func (s *system) serve(ctx context.Context) (address string, stop func(), err error) {
	if _, err := signin.EnsureAdmin(ctx, s.Store.DB, password); err != nil {
		return "", nil, err
	}
	w, err := web.New(web.Options{Live: s.Model, Link: oneLink{s.Owner}, Users: s.Store.DB, Sessions: s.Store.DB})
	if err != nil {
		return "", nil, err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	server := &http.Server{Handler: w.Handler(), ReadHeaderTimeout: 10 * time.Second}
	w.Start()
	go func() { _ = server.Serve(listener) }()
	return listener.Addr().String(), func() { w.Stop(); _ = server.Close() }, nil
}

func signIn(address string) (*http.Client, error) {
	jar, err := cookiejar.New(nil)
	if err != nil {
		return nil, err
	}
	client := &http.Client{Jar: jar, Transport: sameOrigin{"http://" + address}}
	body := fmt.Sprintf(`{"jsonrpc":"2.0","params":{"login":"admin","password":%q}}`, password)
	resp, err := client.Post("http://"+address+"/web/session/authenticate", "application/json", bytes.NewBufferString(body))
	if err != nil {
		return nil, err
	}
	return client, resp.Body.Close()
}

// sameOrigin does what a browser does on Concord's own page.
type sameOrigin struct{ origin string }

// RoundTrip implements [http.RoundTripper].
func (o sameOrigin) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Origin", o.origin)
	return http.DefaultTransport.RoundTrip(r)
}

// oneLink is the link of the only home.
type oneLink struct{ *link.Owner }

// CallService implements [concord.Link].
func (l oneLink) CallService(ctx context.Context, _ int64, call concord.ServiceCall) (json.RawMessage, error) {
	return l.Owner.CallService(ctx, call)
}

// Command implements [concord.Link].
func (l oneLink) Command(ctx context.Context, _ int64, command json.RawMessage) (json.RawMessage, error) {
	return l.Owner.Command(ctx, command)
}
