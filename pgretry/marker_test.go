package pgretry_test

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/concord-home/concord/pgretry"
	"github.com/concord-home/concord/pgretry/internal/pgtest"
)

// TestMarkerTableIsLookedForWithoutWaitingForOthers has a call wait for the pool's only connection, to look for the
// table, while another works on that connection.
func TestMarkerTableIsLookedForWithoutWaitingForOthers(t *testing.T) {
	t.Parallel()
	asks := &acquiring{begun: make(chan struct{})}
	config := pgtest.Config(t, pgtest.URL(t))
	config.MaxConns, config.ConnConfig.Tracer = 1, asks
	pool, runner := pgtest.Connect(t, config), pgretry.New()
	pgtest.Exec(t, pool, pgretry.MarkerMigration, `create table counter (id int primary key, n int not null)`, `insert into counter values (1, 0)`)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	conn, err := pool.Acquire(ctx)
	require.NoError(t, err)
	defer conn.Release()
	done := make(chan error, 1)
	asks.armed.Store(true)
	go func() { done <- runner.Do(ctx, pool, add) }()
	<-asks.begun
	require.NoError(t, runner.Do(ctx, conn, add))
	conn.Release()
	require.NoError(t, <-done)
	require.Equal(t, 2, value(t, pool, 1))
	var markers int
	require.NoError(t, pool.QueryRow(t.Context(), `select count(*) from pgretry_commit`).Scan(&markers))
	require.Equal(t, 2, markers)
}

// acquiring is a tracer that tells when a connection of the pool is asked for.
type acquiring struct {
	statements
	armed atomic.Bool
	begun chan struct{}
	once  sync.Once
}

func (a *acquiring) TraceAcquireStart(ctx context.Context, _ *pgxpool.Pool, _ pgxpool.TraceAcquireStartData) context.Context {
	if a.armed.Load() {
		a.once.Do(func() { close(a.begun) })
	}
	return ctx
}

func (a *acquiring) TraceAcquireEnd(context.Context, *pgxpool.Pool, pgxpool.TraceAcquireEndData) {}

// TestUnknownWhileTheServerStaysAway has no connection to be had after the one that was lost during COMMIT.
func TestUnknownWhileTheServerStaysAway(t *testing.T) {
	t.Parallel()
	direct, proxied, proxy := throughProxy(t)
	pgtest.Exec(t, direct, pgretry.MarkerMigration)
	var away atomic.Bool
	config := proxied.Config()
	dial := config.ConnConfig.DialFunc
	config.ConnConfig.DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error) {
		if away.Load() {
			return nil, &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
		}
		return dial(ctx, network, addr)
	}
	pool := pgtest.Connect(t, config)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	err := pgretry.New().Do(ctx, pool, func(ctx context.Context, tx pgx.Tx) error {
		away.Store(true)
		err := increment(ctx, tx, 1)
		proxy.Arm(pgtest.Cut{Answer: true}) // the answer to COMMIT
		return err
	}, func(p *pgretry.Policy) {
		p.MaxElapsed, p.Grace, p.SlowWait = 100*time.Millisecond, 100*time.Millisecond, time.Millisecond
	})
	require.ErrorIs(t, err, pgretry.ErrCommitUnknown)
	require.NoError(t, ctx.Err())
}

// TestLostCommitOfAReader has nothing to find out: whatever became of it, it can run again.
func TestLostCommitOfAReader(t *testing.T) {
	t.Parallel()
	_, proxied, proxy := throughProxy(t)
	runs := 0
	require.NoError(t, pgretry.Do(t.Context(), proxied, func(context.Context, pgx.Tx) error {
		if runs++; runs == 1 {
			proxy.Arm(pgtest.Cut{Answer: true}) // the answer to COMMIT
		}
		return nil
	}, pgretry.WithReadOnly()))
	require.Equal(t, 2, runs)
}

// TestLostCommitOfAReaderThatNotifies cannot run again: its notification may have been sent, and leaves no marker.
func TestLostCommitOfAReaderThatNotifies(t *testing.T) {
	t.Parallel()
	_, proxied, proxy := throughProxy(t)
	err := pgretry.Do(t.Context(), proxied, func(ctx context.Context, tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `notify read_only`)
		proxy.Arm(pgtest.Cut{Answer: true}) // the answer to COMMIT
		return err
	}, pgretry.WithReadOnly())
	require.ErrorIs(t, err, pgretry.ErrCommitUnknown)
}

// TestMarkerTableIsLookedForAgain has the connection cut while the call looks for the table, and the next during COMMIT.
func TestMarkerTableIsLookedForAgain(t *testing.T) {
	t.Parallel()
	direct, proxied, proxy := throughProxy(t)
	pgtest.Exec(t, direct, pgretry.MarkerMigration)
	require.NoError(t, proxied.Ping(t.Context()))
	runs := 0
	proxy.Arm(pgtest.Cut{Answer: true})
	require.NoError(t, pgretry.New().Do(t.Context(), proxied, func(ctx context.Context, tx pgx.Tx) error {
		err := increment(ctx, tx, 1)
		if runs++; runs == 1 {
			proxy.Arm(pgtest.Cut{Answer: true})
		}
		return err
	}))
	require.Equal(t, 1, value(t, direct, 1))
}
