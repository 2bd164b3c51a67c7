package pgretry_test

import (
	"context"
	"fmt"
	"math"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
	"unsafe"
	"weak"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/concord-home/concord/pgretry"
	"github.com/concord-home/concord/pgretry/internal/pgtest"
)

// TestAllocations bounds what a call allocates beyond pgx's own transaction, with a key as without. It counts the
// allocations of the whole process, so it runs alone.
func TestAllocations(t *testing.T) {
	pool := pgtest.Pool(t, 1)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	opts := pgx.TxOptions{IsoLevel: pgx.RepeatableRead}
	plain := allocations(func() {
		require.NoError(t, pgx.BeginTxFunc(ctx, pool, opts, func(tx pgx.Tx) error { return nothing(ctx, tx) }))
	})
	for name, runner := range map[string]*pgretry.Runner{"NoKey": pgretry.New(), "Key": pgretry.New(pgretry.WithKey("key"))} {
		with := allocations(func() { require.NoError(t, runner.Do(ctx, pool, nothing)) })
		require.LessOrEqual(t, with-plain, 5.0, name)
	}
}

// allocations is how many run makes, in the best of several series: what else goes on in the process adds some.
func allocations(run func()) float64 {
	const series, runs = 5, 100
	least := math.Inf(1)
	run() // opens the connection, looks for the marker's table
	for range series {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for range runs {
			run()
		}
		runtime.ReadMemStats(&after)
		least = min(least, float64(after.Mallocs-before.Mallocs)/runs)
	}
	return least
}

// TestKeysAreForgotten uses many keys once each, and looks how many are still referred to.
func TestKeysAreForgotten(t *testing.T) {
	t.Parallel()
	pool, runner := pgtest.Pool(t, 1), pgretry.New()
	const keys = 1000
	var refs []weak.Pointer[byte]
	for i := range keys {
		key := strings.Repeat("k", 1000) + fmt.Sprint(i)
		refs = append(refs, weak.Make(unsafe.StringData(key)))
		require.NoError(t, runner.Do(t.Context(), pool, nothing, pgretry.WithKey(key)))
	}
	runtime.GC()
	alive := 0
	for _, ref := range refs {
		if ref.Value() != nil {
			alive++
		}
	}
	require.Less(t, alive, keys/2)
	runtime.KeepAlive(runner)
}

// deadlines is a connection that keeps the deadline set last.
type deadlines struct {
	net.Conn
	mu   sync.Mutex
	last time.Time
}

func (d *deadlines) SetDeadline(at time.Time) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.last = at
	return d.Conn.SetDeadline(at)
}

func (d *deadlines) get() time.Time {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.last
}

// TestCommitLeavesNoDeadline ends the context during a COMMIT that then succeeds: its connection must not be cut off
// later, in somebody else's hands.
func TestCommitLeavesNoDeadline(t *testing.T) {
	t.Parallel()
	for name, pick := range map[string]func(*pgxpool.Conn) pgretry.DB{
		"Pool":     nil,
		"PoolConn": func(c *pgxpool.Conn) pgretry.DB { return c },
		"Conn":     func(c *pgxpool.Conn) pgretry.DB { return c.Conn() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			holding := slowCommit(t)
			pool, dialed := watchDeadlines(t, holding)
			var db pgretry.DB = pool
			if pick != nil {
				conn, err := pool.Acquire(t.Context())
				require.NoError(t, err)
				defer conn.Release()
				db = pick(conn)
			}
			ctx, cancel := context.WithCancel(t.Context())
			holder := holdCommits(t, holding)
			defer holder.release()
			done := make(chan error, 1)
			go func() {
				done <- pgretry.Do(ctx, db, add)
			}()
			holder.await(t)
			cancel()
			eventually(t, func() bool { return !dialed.get().IsZero() })
			holder.release()
			require.NoError(t, <-done)
			require.Zero(t, dialed.get())
		})
	}
}

// watchDeadlines returns a pool of one connection to the database of another pool, and that connection.
func watchDeadlines(t *testing.T, other *pgxpool.Pool) (*pgxpool.Pool, *deadlines) {
	t.Helper()
	dialed := &deadlines{}
	config := other.Config()
	config.MaxConns = 1
	config.ConnConfig.DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := (&net.Dialer{}).DialContext(ctx, network, addr)
		dialed.Conn = conn
		return dialed, err
	}
	pool := pgtest.Connect(t, config)
	require.NoError(t, pool.Ping(t.Context()))
	return pool, dialed
}
