package deploy_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/coder/websocket/wsjson"
	"github.com/stretchr/testify/require"

	"github.com/concord-home/concord/hass/simhome"
	"github.com/concord-home/concord/internal/lab"
	"github.com/concord-home/concord/internal/trial"
)

// prometheus runs a real Prometheus with the rules of this folder, which asks
// Concord every second.
func prometheus(t *testing.T, concord string) (address string) {
	t.Helper()
	program := tool(t, "prometheus")
	dir := t.TempDir()
	rules, err := filepath.Abs("prometheus/rules/concord.yml")
	require.NoError(t, err)
	text, err := os.ReadFile(rules)
	require.NoError(t, err)
	fast := filepath.Join(dir, "rules.yml")
	require.NoError(t, os.WriteFile(fast, []byte(strings.ReplaceAll(string(text), "interval: 30s", "interval: 1s")), 0o600))
	config := fmt.Sprintf("global: {scrape_interval: 1s, evaluation_interval: 1s}\nrule_files: [%q]\n"+
		"scrape_configs: [{job_name: concord, static_configs: [{targets: [%q]}]}]\n", fast, strings.TrimPrefix(concord, "http://"))
	file := filepath.Join(dir, "prometheus.yml")
	require.NoError(t, os.WriteFile(file, []byte(config), 0o600))
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	address = listener.Addr().String()
	require.NoError(t, listener.Close())
	cmd := exec.Command(program, "--config.file="+file, "--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+address, "--log.level=error")
	cmd.Stderr = t.Output()
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
		require.NoError(t, cmd.Wait())
	})
	require.Eventually(t, func() bool {
		resp, err := http.Get("http://" + address + "/-/ready")
		if err != nil {
			return false
		}
		resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	}, 60*time.Second, 50*time.Millisecond)
	return "http://" + address
}

// ask returns the values that a query has now.
func ask(t *testing.T, prometheus, expr string) []float64 {
	t.Helper()
	resp, err := http.Get(prometheus + "/api/v1/query?query=" + url.QueryEscape(expr))
	require.NoError(t, err)
	defer resp.Body.Close()
	var answer struct {
		Status, Error string
		Data          struct {
			Result []struct{ Value [2]any }
		}
	}
	require.NoError(t, json.NewDecoder(resp.Body).Decode(&answer))
	require.Equal(t, "success", answer.Status, "%s: %s", expr, answer.Error)
	var values []float64
	for _, r := range answer.Data.Result {
		v, err := strconv.ParseFloat(r.Value[1].(string), 64)
		require.NoError(t, err)
		if !math.IsNaN(v) {
			values = append(values, v)
		}
	}
	return values
}

// limit is the comparison that makes a value an alert.
var limit = regexp.MustCompile(`\s(>=|==|<|>)\s[0-9.]+$`)

func TestEveryQueryReturnsData(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("runs a whole Concord and a Prometheus")
	}
	tool(t, "prometheus")
	c, err := trial.Start(t.Context(), trial.Options{Home: simhome.Options{Entities: 70, Areas: 6, Rate: 50}})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, c.Stop()) })
	trouble(t, c)
	server := prometheus(t, c.URL)

	queries := panelQueries(t)
	for _, r := range rules(t) {
		for part := range strings.SplitSeq(r.Expr, " and ") {
			if r.Alert != "" {
				part = limit.ReplaceAllString(part, "")
			}
			queries = append(queries, query{"rule " + r.Record + r.Alert, part})
		}
	}
	for _, q := range queries {
		var values []float64
		require.Eventually(t, func() bool {
			values = ask(t, server, q.expr)
			return len(values) > 0
		}, 60*time.Second, 250*time.Millisecond, "%s: %s has no data", q.where, q.expr)
	}
	require.Positive(t, ask(t, server, `sum(odoo_ha_serialization_failures_total)`)[0], "there was contention")
	t.Logf("%d queries have data", len(queries))
}

// trouble has an adversary, requests and a screen keep Concord busy until the
// test ends.
func trouble(t *testing.T, c *trial.Trial) {
	t.Helper()
	ctx, end := context.WithCancel(context.WithoutCancel(t.Context()))
	var wg sync.WaitGroup
	t.Cleanup(func() { end(); wg.Wait() })
	wg.Go(func() {
		if _, err := (lab.Adversary{URL: c.DB, Home: c.HomeID, Rows: 20}).Run(ctx); err != nil {
			t.Error(err)
		}
	})
	wg.Go(func() {
		for tick := time.Tick(200 * time.Millisecond); ctx.Err() == nil; {
			if err := c.Areas(true); err != nil && ctx.Err() == nil {
				t.Error(err)
			}
			select {
			case <-ctx.Done():
			case <-tick:
			}
		}
	})
	conn, _, err := websocket.Dial(ctx, c.URL+"/api/websocket", &websocket.DialOptions{
		HTTPClient: c.HTTP, HTTPHeader: http.Header{"Origin": {c.URL}},
	})
	require.NoError(t, err)
	conn.SetReadLimit(-1)
	require.NoError(t, wsjson.Write(ctx, conn, map[string]any{"type": "auth", "access_token": "session"}))
	require.NoError(t, wsjson.Write(ctx, conn, map[string]any{"id": 1, "type": "subscribe_entities"}))
	wg.Go(func() {
		for {
			if _, _, err := conn.Read(ctx); err != nil {
				return
			}
		}
	})
	t.Cleanup(func() { conn.CloseNow() })
}
