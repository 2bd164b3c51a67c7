package app_test

import (
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/concord-home/concord/internal/app"
	"github.com/concord-home/concord/internal/pgtest"
	"github.com/concord-home/concord/internal/trial"
)

// What was in a stream that somebody deletes is asked of the home again.
func TestADeletedStream(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("runs a whole Concord, PostgreSQL included")
	}
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: t.TempDir(), NoSigs: true, NoLog: true})
	require.NoError(t, err)
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	require.True(t, s.ReadyForConnections(10*time.Second))
	url := pgtest.URL(t)
	c := start(t, trial.Options{Config: func(o *app.Config) { o.DatabaseURL, o.NATSURL = url, s.ClientURL() }})
	conn, err := nats.Connect(s.ClientURL())
	require.NoError(t, err)
	t.Cleanup(conn.Close)
	js, err := conn.JetStream()
	require.NoError(t, err)
	require.NoError(t, js.DeleteStream("CONCORD"))
	c.Home.Emit(500)
	require.NoError(t, c.AwaitEqual(t.Context()))
	c.Home.Emit(500)
	require.NoError(t, c.AwaitEqual(t.Context()))
}
