package app_test

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/require"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	otlp "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/concord-home/concord/internal/app"
	"github.com/concord-home/concord/internal/trial"
)

// receiver is an OTLP receiver that keeps what it is sent.
type receiver struct {
	collector.UnimplementedTraceServiceServer
	mu    sync.Mutex
	spans []*otlp.Span
	names map[string]bool // service.name of resources
}

// Export implements OTLP over gRPC.
func (r *receiver) Export(_ context.Context, request *collector.ExportTraceServiceRequest) (*collector.ExportTraceServiceResponse, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, resource := range request.ResourceSpans {
		for _, a := range resource.Resource.Attributes {
			if a.Key == "service.name" {
				r.names[a.Value.GetStringValue()] = true
			}
		}
		for _, scope := range resource.ScopeSpans {
			r.spans = append(r.spans, scope.Spans...)
		}
	}
	return &collector.ExportTraceServiceResponse{}, nil
}

// ServeHTTP implements OTLP over HTTP.
func (r *receiver) ServeHTTP(w http.ResponseWriter, h *http.Request) {
	body, err := io.ReadAll(h.Body)
	var request collector.ExportTraceServiceRequest
	if err != nil || h.URL.Path != "/v1/traces" || proto.Unmarshal(body, &request) != nil {
		http.Error(w, "not OTLP", http.StatusBadRequest)
		return
	}
	answer, _ := r.Export(h.Context(), &request)
	out, _ := proto.Marshal(answer)
	w.Header().Set("Content-Type", "application/x-protobuf")
	_, _ = w.Write(out)
}

func (r *receiver) all() []*otlp.Span {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]*otlp.Span(nil), r.spans...)
}

// trace returns the spans of a trace.
func (r *receiver) trace(id []byte) (list []*otlp.Span) {
	for _, s := range r.all() {
		if string(s.TraceId) == string(id) {
			list = append(list, s)
		}
	}
	return list
}

// path is the names from the root of a trace, or from its first span here, to a
// span, such as "a/b/c".
func path(trace []*otlp.Span, s *otlp.Span) string {
	for _, parent := range trace {
		if string(parent.SpanId) == string(s.ParentSpanId) {
			return path(trace, parent) + "/" + s.Name
		}
	}
	return s.Name
}

// paths counts the spans of a trace by path.
func paths(trace []*otlp.Span) map[string]int {
	count := map[string]int{}
	for _, s := range trace {
		count[path(trace, s)]++
	}
	return count
}

// has waits until a trace has a span at the path, and returns all of the trace.
func (r *receiver) has(t *testing.T, id []byte, want string) (trace []*otlp.Span) {
	t.Helper()
	require.Eventually(t, func() bool {
		trace = r.trace(id)
		return paths(trace)[want] > 0
	}, 30*time.Second, 20*time.Millisecond, "no %s", want)
	return trace
}

func named(trace []*otlp.Span, name string) (list []*otlp.Span) {
	for _, s := range trace {
		if s.Name == name {
			list = append(list, s)
		}
	}
	return list
}

func events(s *otlp.Span) string { return fmt.Sprint(s.Events) }

// watch has a screen follow an entity, and returns when it shows the value.
func watch(t *testing.T, c *trial.Trial, entity string) (until func(value string)) {
	t.Helper()
	address, err := url.Parse(c.URL)
	require.NoError(t, err)
	header := http.Header{"Origin": {c.URL}}
	for _, cookie := range c.HTTP.Jar.Cookies(address) {
		header.Add("Cookie", cookie.Name+"="+cookie.Value)
	}
	conn, _, err := websocket.Dial(t.Context(), strings.Replace(c.URL, "http", "ws", 1)+"/api/websocket", &websocket.DialOptions{HTTPHeader: header})
	require.NoError(t, err)
	t.Cleanup(func() { conn.CloseNow() })
	conn.SetReadLimit(1 << 20)
	for _, m := range []string{`{"type":"auth","access_token":"session"}`, `{"id":1,"type":"subscribe_entities","entity_ids":["` + entity + `"]}`} {
		require.NoError(t, conn.Write(t.Context(), websocket.MessageText, []byte(m)))
	}
	return func(value string) {
		for {
			_, body, err := conn.Read(t.Context())
			require.NoError(t, err)
			if strings.Contains(string(body), `"s":"`+value+`"`) {
				return
			}
		}
	}
}

func TestTraces(t *testing.T) {
	t.Parallel()
	to := &receiver{names: map[string]bool{}}
	web := httptest.NewServer(to)
	t.Cleanup(web.Close)
	c := start(t, trial.Options{Config: func(o *app.Config) { o.Traces = app.TraceConfig{On: true, Endpoint: web.URL} }})
	r := newRival(t, c)
	const entity = "sensor.contested"
	c.Home.Set(entity, "0", nil)
	shows := watch(t, c, entity)
	shows("0")
	require.Eventually(t, func() bool {
		var n int
		return r.look.QueryRow(t.Context(), `select 1 from entity_state where entity_id = $1`, entity).Scan(&n) == nil
	}, 20*time.Second, 2*time.Millisecond)

	t.Run("AChangeIsFollowedToTheRowAndToTheScreen", func(t *testing.T) {
		r.holds(t, `update entity_state set state = state where entity_id = '`+entity+`'`, `concord`, func() { c.Home.Set(entity, "1", nil) })
		shows("1")
		var failed *otlp.Span
		require.Eventually(t, func() bool {
			for _, s := range named(to.all(), "transaction") {
				if strings.Contains(events(s), "transaction attempt failed") {
					failed = s
				}
			}
			return failed != nil
		}, 30*time.Second, 20*time.Millisecond)
		require.Contains(t, events(failed), "40001")

		const row = "home message/spool publish/write events/transaction"
		to.has(t, failed.TraceId, "home message/screen")
		trace := to.has(t, failed.TraceId, row+"/attempt/INSERT")
		count := paths(trace)
		require.Equal(t, 1, count["home message"], "%v", count)
		require.Equal(t, 1, count["home message/spool publish"], "%v", count)
		require.Equal(t, 1, count[row], "%v", count)
		require.Equal(t, 2, count[row+"/attempt"], "one that PostgreSQL refused and one that it took: %v", count)
		beneath := map[string]bool{}
		for _, s := range trace {
			beneath[string(s.ParentSpanId)] = true
		}
		for _, a := range named(trace, "attempt") {
			require.True(t, beneath[string(a.SpanId)], "each attempt has statements of its own")
		}
		require.Empty(t, named(trace, "home message")[0].ParentSpanId, "the trace begins with what the home said")
	})

	t.Run("ARequestGoesOnWithItsCallersTrace", func(t *testing.T) {
		const id, parent = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, c.URL+"/odoo_ha_addon/areas", strings.NewReader(`{"params":{"sync":true}}`))
		require.NoError(t, err)
		request.Header.Set("Content-Type", "application/json")
		request.Header.Set("Traceparent", "00-"+id+"-"+parent+"-01")
		resp, err := c.HTTP.Do(request)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		require.Equal(t, id, resp.Header.Get("X-Request-Id"))

		raw, err := hex.DecodeString(id)
		require.NoError(t, err)
		const route = "POST /odoo_ha_addon/areas"
		trace := to.has(t, raw, route)
		require.Equal(t, parent, hex.EncodeToString(named(trace, route)[0].ParentSpanId))
		trace = to.has(t, raw, route+"/spool publish/reconcile")
		to.has(t, raw, route+"/spool publish/reconcile/transaction/attempt/SELECT")
		require.NotEmpty(t, named(trace, "attempt"))
	})

	t.Run("ARequestWithoutOneBeginsATraceThatTheAnswerNames", func(t *testing.T) {
		resp, err := c.HTTP.Get(c.URL + "/health/serialization")
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		raw, err := hex.DecodeString(resp.Header.Get("X-Request-Id"))
		require.NoError(t, err)
		to.has(t, raw, "GET /health/serialization")
	})

	require.NoError(t, c.StopConcord())
	require.True(t, to.names["concord"])
	_, token := c.HomeAddress()
	address, err := url.Parse(c.URL)
	require.NoError(t, err)
	secrets := []string{trial.Password, token}
	for _, cookie := range c.HTTP.Jar.Cookies(address) {
		secrets = append(secrets, cookie.Value)
	}
	if db, err := url.Parse(c.DB); err == nil && db.User != nil {
		if p, ok := db.User.Password(); ok {
			secrets = append(secrets, p)
		}
	}
	require.GreaterOrEqual(t, len(secrets), 3)
	for _, s := range to.all() {
		text, err := json.Marshal(s)
		require.NoError(t, err)
		for _, secret := range secrets {
			require.NotContains(t, string(text), secret)
		}
	}
	t.Logf("%d spans", len(to.all()))
}

func TestTracesOverGRPC(t *testing.T) {
	t.Parallel()
	to := &receiver{names: map[string]bool{}}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	server := grpc.NewServer()
	collector.RegisterTraceServiceServer(server, to)
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	t.Cleanup(func() { server.Stop(); <-served })
	c := start(t, trial.Options{Config: func(o *app.Config) {
		o.Traces = app.TraceConfig{On: true, Endpoint: "http://" + listener.Addr().String(), Protocol: "grpc"}
	}})
	require.NoError(t, c.StopConcord(), "stopping delivers the last spans")
	require.NotEmpty(t, named(to.all(), "POST /web/session/authenticate"))
}

// A receiver that is away delays nothing and loses nothing but spans.
func TestTracesWithoutAReceiver(t *testing.T) {
	t.Parallel()
	c := start(t, trial.Options{Config: func(o *app.Config) { o.Traces = app.TraceConfig{On: true, Endpoint: "http://127.0.0.1:1"} }})
	require.NoError(t, c.Areas(true))
	_, err := app.New(t.Context(), app.Config{Listen: "127.0.0.1:0", DataDir: t.TempDir(), Traces: app.TraceConfig{On: true, Protocol: "http/json"}})
	require.ErrorContains(t, err, "OTEL_EXPORTER_OTLP_PROTOCOL")
}
