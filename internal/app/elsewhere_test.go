package app_test

import (
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/stretchr/testify/require"

	"github.com/concord-home/concord/internal/app"
	"github.com/concord-home/concord/internal/pgtest"
	"github.com/concord-home/concord/internal/trial"
)

// A Concord that is given a database and a spool runs none of its own.
func TestOtherDatabaseAndSpool(t *testing.T) {
	t.Parallel()
	url := pgtest.URL(t)
	nats, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: t.TempDir(), NoSigs: true, NoLog: true})
	require.NoError(t, err)
	go nats.Start()
	t.Cleanup(func() { nats.Shutdown(); nats.WaitForShutdown() })
	require.True(t, nats.ReadyForConnections(10*time.Second))

	c := start(t, trial.Options{Config: func(o *app.Config) { o.DatabaseURL, o.NATSURL = url, nats.ClientURL() }})
	require.Equal(t, url, c.DB)
	c.Home.Emit(500)
	require.NoError(t, c.AwaitEqual(t.Context()))
	require.NoDirExists(t, c.Dir+"/postgres")
	require.NoDirExists(t, c.Dir+"/spool")
}
