package web_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// What the published load scripts do: ab -n 100 -c 10 with a cookie, whose
// requests say text/plain beside application/json, and 100 requests from 20
// threads that share one session and send neither method nor id.
func TestPublishedLoadScripts(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.signIn(t)
	cookie := b.client.Jar.Cookies(mustURL(t, b.http.URL))[0].String()
	for _, c := range []struct {
		name    string
		workers int
		header  http.Header
	}{
		{"ab", 10, http.Header{"Content-Type": {"text/plain", "application/json"}, "Cookie": {cookie}, "User-Agent": {"ApacheBench/2.3"}, "Accept": {"*/*"}}},
		{"threads", 20, http.Header{"Content-Type": {"application/json"}, "Cookie": {cookie}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			answers := make(chan string, 100)
			var wg sync.WaitGroup
			for range c.workers {
				wg.Go(func() {
					for range 100 / c.workers {
						answers <- b.post("/odoo_ha_addon/areas", `{"jsonrpc":"2.0","params":{}}`, c.header)
					}
				})
			}
			wg.Wait()
			close(answers)
			for text := range answers {
				require.Contains(t, text, `"success":true`)
			}
		})
	}
}

// post is do for other goroutines than the test's: a failure is in the text.
func (b *bundle) post(path, body string, header http.Header) string {
	req, err := http.NewRequest(http.MethodPost, b.http.URL+path, strings.NewReader(body))
	if err != nil {
		return err.Error()
	}
	req.Header = header.Clone()
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err.Error()
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// Whatever the body, the answer is JSON and the server lives.
func FuzzJSONRPC(f *testing.F) {
	b := setup(f, withAnswers)
	b.signIn(f)
	cookie := b.client.Jar.Cookies(mustURL(f, b.http.URL))[0].String()
	routes := []string{
		"areas", "entities_by_area", "area_dashboard_data", "call_service", "get_instances", "switch_instance", "websocket_status",
		"websocket_restart", "ha_urls", "glances_devices", "glances_device_entities", "entity_related",
	}
	for i := range routes {
		f.Add(i, `{"jsonrpc":"2.0","params":{"area_id":"x","ha_instance_id":1,"instance_id":null,"entity_id":"light.ceiling"},"id":1}`)
	}
	f.Add(3, `{"params":{"domain":"number","service":"set_value","service_data":{"entity_id":["number.limit",1],"value":"1e999"}}}`)
	f.Add(0, "{\"params\":\"\x00\xff\",\"id\":{}}")
	handler := b.server.Handler()
	f.Fuzz(func(t *testing.T, route int, body string) {
		r := httptest.NewRequest(http.MethodPost, "/odoo_ha_addon/"+routes[uint(route)%uint(len(routes))], strings.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Cookie", cookie)
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		require.True(t, json.Valid(w.Body.Bytes()), w.Body.String())
		require.NotContains(t, w.Body.String(), "Unexpected error")
	})
}
