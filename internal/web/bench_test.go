package web_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/concord-home/concord"
	livemodel "github.com/concord-home/concord/internal/live"
	"github.com/concord-home/concord/internal/web"
)

// Sizes of the benchmark: a home of 10,000 entities that changes 2,000 times a
// second, and screens of 40 entities each.
const (
	benchEntities  = 10_000
	benchPerScreen = 40
	benchRate      = 2000
	benchFor       = 4 * time.Second
)

// BenchmarkScreens measures the time from a change in the live model to its
// arrival at the other end of a loopback socket, clients in the same process.
func BenchmarkScreens(b *testing.B) {
	for _, screens := range []int{1, 100, 500} {
		b.Run(strconv.Itoa(screens), func(b *testing.B) {
			for b.Loop() {
				benchScreens(b, screens)
			}
		})
	}
}

func benchScreens(b *testing.B, screens int) {
	model := livemodel.New()
	model.SetHome(concord.Home{ID: 1, Name: "Home", Active: true}, true)
	states := make([]*concord.State, benchEntities)
	for i := range states {
		states[i] = benchState(i, 0)
	}
	model.Replace(1, states)
	s := setup(b, func(_ *bundle, o *web.Options) { o.Live = model })
	s.signIn(b)

	var delays []time.Duration
	var mu sync.Mutex
	var received atomic.Int64
	var readers sync.WaitGroup
	ctx, cancel := context.WithCancel(context.Background())
	for i := range screens {
		c := s.benchScreen(b, i)
		readers.Go(func() {
			own := readDelays(ctx, c, &received)
			mu.Lock()
			delays = append(delays, own...)
			mu.Unlock()
		})
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	began := time.Now()
	changes := change(model, states)
	took := time.Since(began)
	require.Eventually(b, func() bool { return received.Load() > 0 }, 5*time.Second, time.Millisecond)
	runtime.GC()
	runtime.ReadMemStats(&after)
	cancel()
	readers.Wait()
	slices.Sort(delays)
	require.NotEmpty(b, delays)
	b.ReportMetric(float64(changes)/took.Seconds(), "changes/s")
	b.ReportMetric(float64(len(delays))/took.Seconds(), "deliveries/s")
	b.ReportMetric(micros(delays[len(delays)/2]), "p50-µs")
	b.ReportMetric(micros(delays[len(delays)*99/100]), "p99-µs")
	b.ReportMetric(micros(delays[len(delays)-1]), "max-µs")
	b.ReportMetric(float64(int64(after.HeapAlloc)-int64(before.HeapAlloc))/1e6, "heap-growth-MB")
	b.ReportMetric(0, "ns/op")
}

func micros(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e3 }

// benchState has the time as its value, so that the reader can subtract.
func benchState(i int, value int64) *concord.State {
	return &concord.State{
		EntityID: fmt.Sprintf("sensor.e%05d", i), State: strconv.FormatInt(value, 10),
		Attributes:  json.RawMessage(`{"friendly_name":"Entity","unit_of_measurement":"W","device_class":"power","state_class":"measurement"}`),
		LastChanged: time.Unix(0, value).UTC(), LastUpdated: time.Unix(0, value).UTC(),
		Context: concord.EventContext{ID: "01M81DJWS0KQMJMJTFNWC71M59"},
	}
}

// change makes benchRate changes a second, in frames as they fall due.
func change(model *livemodel.Model, states []*concord.State) int {
	began := time.Now()
	n := 0
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for elapsed := time.Duration(0); elapsed < benchFor; elapsed = time.Since(began) {
		due := int(elapsed.Seconds() * benchRate)
		var frame []concord.Change
		for ; n < due; n++ {
			i := n * 7919 % len(states)
			next := benchState(i, time.Now().UnixNano())
			frame = append(frame, concord.Change{EntityID: next.EntityID, Old: states[i], New: next})
			states[i] = next
		}
		model.Apply(1, frame)
		<-tick.C
	}
	return n
}

// benchScreen connects a screen that shows some of the entities.
func (b *bundle) benchScreen(t testing.TB, n int) *wsClient {
	t.Helper()
	c := b.dial(t, b.browserHeader(t))
	c.ctx = context.Background() // it lasts longer than a test's connection
	c.write(map[string]any{"type": "auth", "access_token": "session"})
	require.Equal(t, "auth_ok", c.read().Type)
	ids := make([]string, benchPerScreen)
	for i := range ids {
		ids[i] = fmt.Sprintf("sensor.e%05d", (n*benchPerScreen+i)%benchEntities)
	}
	id := c.subscribe("subscribe_entities", map[string]any{"entity_ids": ids})
	c.event(id)
	return c
}

// readDelays reads until ctx ends.
func readDelays(ctx context.Context, c *wsClient, received *atomic.Int64) []time.Duration {
	var delays []time.Duration
	for {
		_, data, err := c.conn.Read(ctx)
		if err != nil {
			return delays
		}
		now := time.Now().UnixNano()
		for {
			_, rest, ok := bytes.Cut(data, []byte(`"s":"`))
			if !ok {
				break
			}
			value, after, _ := bytes.Cut(rest, []byte(`"`))
			at, err := strconv.ParseInt(string(value), 10, 64)
			if err != nil {
				break
			}
			delays, data = append(delays, time.Duration(now-at)), after
			received.Add(1)
		}
	}
}

// BenchmarkAreas is one request for the areas of a home of 100 areas and 10,000
// entities, without the network.
func BenchmarkAreas(b *testing.B) {
	model := livemodel.New()
	model.SetHome(concord.Home{ID: 1, Name: "Home", Active: true}, true)
	areas, entities := make([]concord.Area, 100), make([]concord.Entity, benchEntities)
	for i := range areas {
		areas[i] = concord.Area{ID: fmt.Sprintf("area_%d", i), Name: fmt.Sprintf("Area %d", i)}
	}
	for i := range entities {
		entities[i] = concord.Entity{EntityID: fmt.Sprintf("sensor.e%05d", i), AreaID: areas[i%len(areas)].ID}
	}
	model.SetRegistry(1, concord.NewRegistry(nil, areas, nil, entities, nil, false))
	s := setup(b, func(_ *bundle, o *web.Options) { o.Live = model })
	s.signIn(b)
	cookie := s.client.Jar.Cookies(mustURL(b, s.http.URL))[0].String()
	handler := s.server.Handler()
	for b.Loop() {
		r := httptest.NewRequest("POST", "/odoo_ha_addon/areas", strings.NewReader(`{"jsonrpc":"2.0","params":{},"id":1}`))
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Cookie", cookie)
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		if w.Code != 200 {
			b.Fatal(w.Body.String())
		}
	}
}
