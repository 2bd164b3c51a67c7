package app_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/concord-home/concord/internal/app"
	"github.com/concord-home/concord/internal/pgtest"
	"github.com/concord-home/concord/internal/trial"
)

// besideASpool runs a Concord with a NATS server of its own, and returns a
// connection to that.
func besideASpool(t *testing.T) (*trial.Trial, *nats.Conn) {
	t.Helper()
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
	return c, conn
}

// What a message held that cannot be read is asked of the home, on a new connection.
func TestAMessageThatCannotBeRead(t *testing.T) {
	t.Parallel()
	c, conn := besideASpool(t)
	require.NoError(t, c.AwaitEqual(t.Context()))
	require.NoError(t, conn.Publish(fmt.Sprintf("concord.home.%d", c.HomeID), []byte("\xffgarbage")))
	require.Eventually(t, func() bool {
		return query[bool](t, c, `select away_lost and exists (select from quarantine) from spool_position`)
	}, 30*time.Second, 20*time.Millisecond)
}

// What was in a stream that somebody deletes is asked of the home again.
func TestADeletedStream(t *testing.T) {
	t.Parallel()
	c, conn := besideASpool(t)
	js, err := conn.JetStream()
	require.NoError(t, err)
	require.NoError(t, js.DeleteStream("CONCORD"))
	c.Home.Emit(500)
	require.NoError(t, c.AwaitEqual(t.Context()))
	c.Home.Emit(500)
	require.NoError(t, c.AwaitEqual(t.Context()))
}
