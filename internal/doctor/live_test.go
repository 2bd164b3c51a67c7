package doctor_test

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/concord-home/concord/internal/doctor"
	"github.com/concord-home/concord/internal/pgtest"
)

// listener is a relay to a real server that keeps what the client sends.
type listener struct {
	mu   sync.Mutex
	sent bytes.Buffer
}

func (l *listener) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.sent.Write(p)
}

// relay gives the address of url by way of the listener.
func (l *listener) relay(t *testing.T, to string) string {
	t.Helper()
	u, err := url.Parse(to)
	require.NoError(t, err)
	target := u.Host
	front, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = front.Close() })
	go func() {
		for {
			client, err := front.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", target)
			if err != nil {
				_ = client.Close()
				return
			}
			go func() { _, _ = io.Copy(io.MultiWriter(server, l), client); _ = server.Close() }()
			go func() { _, _ = io.Copy(client, server); _ = client.Close() }()
		}
	}()
	u.Host = front.Addr().String()
	return u.String()
}

// TestDatabaseLeavesTheSessionAsItWas looks at what really goes to the server: behind a pooler in transaction mode, a
// setting of the session would be left to whoever gets it next.
func TestDatabaseLeavesTheSessionAsItWas(t *testing.T) {
	if testing.Short() {
		t.Skip("starts PostgreSQL")
	}
	t.Parallel()
	var l listener
	report, err := doctor.Database(t.Context(), l.relay(t, pgtest.URL(t)))
	require.NoError(t, err)
	l.mu.Lock()
	defer l.mu.Unlock()
	sent := strings.ToLower(l.sent.String())
	asked := len(report.Tables) + len(report.Skipped)
	require.Positive(t, asked)
	begun := strings.Count(sent, "begin isolation level read committed read only")
	require.GreaterOrEqual(t, begun, asked, "every question has a read-only transaction")
	require.Equal(t, 2*begun, strings.Count(sent, "set local "), "each with both limits")
	require.Equal(t, strings.Count(sent, "set local "), strings.Count(sent, "set "), "and no other setting")
	require.NotContains(t, sent, "set_config")
	require.LessOrEqual(t, strings.Count(sent, "rollback\x00"), len(report.Skipped)+1, "answered questions do not count as rollbacks")
}

// TestDatabaseTellsTheScene stages what live checks are for: a holder that two wait for, one of them through the other,
// a prepared transaction, a role with its own isolation level, and a role that may not see all.
func TestDatabaseTellsTheScene(t *testing.T) {
	if testing.Short() {
		t.Skip("starts PostgreSQL")
	}
	t.Parallel()
	address := pgtest.URL(t)
	holder := connect(t, address)
	exec(t, holder, "CREATE TABLE parent(id int PRIMARY KEY, qty int); INSERT INTO parent VALUES (1, 1), (2, 2); CREATE TABLE \"Child\"(pid int REFERENCES parent)")
	name := "scene_" + strings.TrimPrefix(pathOf(t, address), "/")
	exec(t, holder, "CREATE ROLE "+name+" LOGIN PASSWORD 'x'")
	t.Cleanup(func() { exec(t, connect(t, address), "DROP OWNED BY "+name+"; DROP ROLE "+name) })
	exec(t, holder, "ALTER ROLE "+name+" IN DATABASE "+pathOf(t, address)[1:]+" SET default_transaction_isolation = 'repeatable read'")
	exec(t, holder, "BEGIN; UPDATE parent SET qty = 0 WHERE id = 2; PREPARE TRANSACTION '"+name+"'")
	t.Cleanup(func() { exec(t, connect(t, address), "ROLLBACK PREPARED '"+name+"'") })
	exec(t, holder, "BEGIN; UPDATE parent SET qty = 0 WHERE id = 1")
	var waiters sync.WaitGroup
	defer waiters.Wait()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	for _, row := range []string{"1", "1", "2"} {
		waiter := connect(t, address)
		waiters.Go(func() { _, _ = waiter.Exec(ctx, "UPDATE parent SET qty = 3 WHERE id = "+row) })
	}
	var all string
	require.Eventually(t, func() bool { // all three wait, the last for the prepared transaction, pid 0
		report, err := doctor.Database(context.Background(), address)
		require.NoError(t, err)
		all = text(t, (&doctor.Report{Database: report}).Tell("en"))
		return strings.Contains(all, "blocks 2 others") && strings.Contains(all, "for "+name+": UPDATE parent SET qty = 3 WHERE id = 2")
	}, 20*time.Second, 50*time.Millisecond)
	require.Contains(t, all, "ROLLBACK PREPARED '"+name+"'")
	require.Contains(t, all, name+"@"+pathOf(t, address)[1:]+" starts transactions at repeatable read")
	require.Contains(t, all, "isolation level: read committed on the server")
	require.Contains(t, all, `CREATE INDEX CONCURRENTLY ON "Child" (pid);`)
	require.NotContains(t, all, "pg_monitor", "a superuser sees all")

	u, err := url.Parse(address)
	require.NoError(t, err)
	u.User = url.UserPassword(name, "x")
	report, err := doctor.Database(context.Background(), u.String())
	require.NoError(t, err)
	small := text(t, (&doctor.Report{Database: report}).Tell("en"))
	require.Contains(t, small, `GRANT pg_monitor TO "`+name+`";`)
	require.Contains(t, small, "isolation level: ? on the server", "its own setting is not taken for the server's")
}

func pathOf(t *testing.T, address string) string {
	t.Helper()
	u, err := url.Parse(address)
	require.NoError(t, err)
	return u.Path
}

// TestMonitorOfMetrics sums Concord's counters and shows what is new first.
func TestMonitorOfMetrics(t *testing.T) {
	t.Parallel()
	var looks atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer secret" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		areas := "3"
		if looks.Add(1) > 1 {
			areas = "8"
		}
		_, _ = io.WriteString(w, "# HELP odoo_ha_serialization_failures_total x\n"+
			`odoo_ha_serialization_failures_total{endpoint="get_areas",attempt="0"} `+areas+"\n"+
			`odoo_ha_serialization_failures_total{endpoint="sync",attempt="0"} 40`+"\n"+
			`concord_transactions_total{endpoint="sync",outcome="retried"} 7`+"\n"+
			`concord_transactions_total{endpoint="sync",outcome="committed"} 70`+"\n"+
			`concord_transactions_total{endpoint="sync",outcome="lost"} 2`+"\n"+
			`concord_sql_errors_total{sqlstate="25P02"} 1`+"\n")
	}))
	defer server.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var views []doctor.View
	require.NoError(t, doctor.WatchMetrics(ctx, server.URL, "secret", time.Millisecond, func(v *doctor.View) {
		if views = append(views, *v); len(views) == 2 {
			cancel()
		}
	}))
	require.Equal(t, []string{"sync ×40", "get_areas ×3"}, views[0].Worst)
	require.Equal(t, []string{"get_areas ×8 (+5)", "sync ×40"}, views[1].Worst)
	require.Equal(t, []int64{7, 2}, []int64{views[1].Retried, views[1].Lost})
	require.Positive(t, views[1].Rate)
	require.Error(t, doctor.WatchMetrics(t.Context(), server.URL, "wrong", time.Second, func(*doctor.View) {}))
}
