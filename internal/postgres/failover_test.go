package postgres_test

import (
	"context"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/concord-home/concord"
	"github.com/concord-home/concord/internal/pgembed"
	"github.com/concord-home/concord/internal/postgres"
)

// cluster is a PostgreSQL that only this test uses.
type cluster struct {
	*pgembed.Server
	dir string
}

func newCluster(t *testing.T) *cluster {
	t.Helper()
	if testing.Short() {
		t.Skip("starts PostgreSQL")
	}
	dir := t.TempDir()
	require.NoError(t, os.Chmod(filepath.Dir(dir), 0o711)) // passage for the user that PostgreSQL runs as
	c := &cluster{dir: filepath.Join(dir, "data")}
	c.start(t)
	t.Cleanup(func() { require.NoError(t, c.Stop()) })
	return c
}

func (c *cluster) start(t *testing.T) {
	t.Helper()
	s, err := pgembed.Start(t.Context(), pgembed.Options{Dir: c.dir, Settings: map[string]string{"fsync": "off"}})
	require.NoError(t, err)
	c.Server = s
}

// demote makes the server a standby, at the same address.
func (c *cluster) demote(t *testing.T) {
	t.Helper()
	require.NoError(t, c.Stop())
	require.NoError(t, os.WriteFile(filepath.Join(c.dir, "postgres", "data", "standby.signal"), nil, 0o666))
	require.NoError(t, os.Chmod(filepath.Join(c.dir, "postgres", "data", "standby.signal"), 0o666)) // PostgreSQL removes it
	c.start(t)
}

func (c *cluster) run(t *testing.T, sql string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), c.URL())
	require.NoError(t, err)
	defer conn.Close(t.Context())
	_, err = conn.Exec(t.Context(), sql)
	require.NoError(t, err)
}

const within, often = 20 * time.Second, 10 * time.Millisecond

func TestFailOver(t *testing.T) {
	t.Parallel()

	t.Run("AStandbyIsADatabaseThatIsDownUntilItIsPromoted", func(t *testing.T) {
		t.Parallel()
		c := newCluster(t)
		db, err := postgres.Open(t.Context(), postgres.Options{URL: c.URL()})
		require.NoError(t, err)
		t.Cleanup(db.Close)
		home, err := db.EnsureHome(t.Context(), "Home", "ws://home")
		require.NoError(t, err)
		lease, _, err := db.Lead(t.Context(), home.ID)
		require.NoError(t, err)
		t.Cleanup(lease.Release)
		write := func() error {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second) // a write outlasts a fail-over of a minute
			defer cancel()
			_, err := db.WriteEvents(ctx, home.ID, []concord.Record{record("light.a", "on", 1, 1)}, 10)
			return err
		}

		c.demote(t)
		<-lease.Lost()
		const reason = "the database is read-only, as a standby is"
		require.Eventually(t, func() bool { return db.Status().Error == reason }, within, often)
		require.False(t, db.Status().Up)
		require.Equal(t, concord.CodeUnavailable, concord.ErrorCode(write()))
		require.Equal(t, reason, db.Status().Error)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, _, err = db.Lead(ctx, home.ID)
		require.Equal(t, concord.CodeUnavailable, concord.ErrorCode(err))

		c.run(t, `select pg_promote()`)
		require.Eventually(t, func() bool { return db.Status().Up }, within, often)
		again, _, err := db.Lead(t.Context(), home.ID)
		require.NoError(t, err)
		t.Cleanup(again.Release)
		require.True(t, again.Resumed)
		require.NoError(t, write())
	})

	t.Run("OfSeveralServersTheOneThatTakesWritesIsUsed", func(t *testing.T) {
		t.Parallel()
		one, two := newCluster(t), newCluster(t)
		first, err := url.Parse(one.URL())
		require.NoError(t, err)
		both, err := url.Parse(two.URL())
		require.NoError(t, err)
		password, _ := first.User.Password()
		two.run(t, `alter user concord password '`+password+`'`)
		both.User, both.Host = first.User, first.Host+","+both.Host
		one.demote(t)
		db, err := postgres.Open(t.Context(), postgres.Options{URL: both.String()})
		require.NoError(t, err)
		t.Cleanup(db.Close)
		_, err = db.EnsureHome(t.Context(), "Home", "ws://home")
		require.NoError(t, err)
	})
}
