package soak_test

import (
	"context"
	"math/rand/v2"
	"os"
	"runtime"
	"strconv"
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

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

// length is how long a test runs: six seconds, or what PGRETRY_SOAK says.
func length(t *testing.T) time.Duration {
	t.Helper()
	if s := os.Getenv("PGRETRY_SOAK"); s != "" {
		d, err := time.ParseDuration(s)
		require.NoError(t, err)
		return d
	}
	return 6 * time.Second
}

const (
	workers  = 100
	counters = 10
)

// TestSoak runs 100 workers on 10 counters while connections are cut, backends terminated and killed, and contexts
// cancelled. Each operation leaves a row with its own id: what was reported must be there once, what failed not at all,
// and what is unknown at most once. Beside them others write batches.
func TestSoak(t *testing.T) {
	pgtest.URL(t)
	goroutines := runtime.NumGoroutine()
	cluster, err := pgtest.Start("log_min_messages=fatal")
	require.NoError(t, err)
	defer cluster.Stop()
	s := newSoak(t, cluster)
	batches := newBatches(t, s)
	ctx, cancel := context.WithTimeout(t.Context(), length(t))
	defer cancel()
	var faults, work sync.WaitGroup
	faults.Go(func() { s.faults(ctx) })
	for range workers {
		work.Go(func() { s.work(ctx) })
	}
	for range batchWorkers {
		work.Go(func() { batches.work(ctx) })
	}
	work.Wait()
	faults.Wait()
	s.check(t)
	batches.check(t)
	s.pool.Close()
	s.admin.Close()
	t.Logf("%d committed, %d failed, %d unknown; %d cuts, %d terminated, %d killed, %d cancelled; %d 40001, %d commits resolved",
		len(s.committed), len(s.failed), len(s.unknown), s.cuts, s.terminated, s.killed, s.cancelled.Load(), s.conflicts.Load(), s.commitFailures.Load())
	require.NotEmpty(t, s.committed)
	s.proxy.CutAll()
	require.Eventually(t, func() bool { return runtime.NumGoroutine() <= goroutines+8 }, 10*time.Second, 20*time.Millisecond,
		"goroutines left over")
}

type soak struct {
	cluster *pgtest.Cluster
	proxy   *pgtest.Proxy
	pool    *pgxpool.Pool // through the proxy
	admin   *pgxpool.Pool
	runner  *pgretry.Runner
	group   *pgretry.Group[int, struct{}]

	conflicts, commitFailures, cancelled atomic.Int64
	cuts, terminated, killed             int

	mu                         sync.Mutex
	ids                        int
	committed, failed, unknown []int
}

func newSoak(t *testing.T, cluster *pgtest.Cluster) *soak {
	t.Helper()
	s := &soak{cluster: cluster, proxy: pgtest.NewProxy(t, cluster.Addr())}
	config := pgtest.Config(t, cluster.URL())
	var err error
	s.admin, err = pgxpool.NewWithConfig(t.Context(), config.Copy())
	require.NoError(t, err)
	pgtest.Exec(t, s.admin, pgretry.MarkerMigration, `create table counter (id int primary key, n int not null)`,
		`insert into counter select i, 0 from generate_series(0, 9) i`,
		`create table done (id int not null, counter int not null)`)
	config.ConnConfig.Port = uint16(s.proxy.Addr().Port)
	config.MaxConns = 30
	s.pool, err = pgxpool.NewWithConfig(t.Context(), config)
	require.NoError(t, err)
	opts := []pgretry.Option{pgretry.WithMaxAttempts(-1), pgretry.WithObserver(s), pgretry.WithReserve(5), func(p *pgretry.Policy) {
		p.SlowWait, p.MaxSlowWait = 20*time.Millisecond, 200*time.Millisecond
	}}
	s.runner = pgretry.New(opts...)
	s.group = pgretry.Coalesce(s.pool, applyAll, opts...)
	return s
}

// AttemptFailed counts what was met.
func (s *soak) AttemptFailed(_ context.Context, a pgretry.Attempt) {
	switch {
	case a.SQLSTATE == "40001":
		s.conflicts.Add(1)
	case a.Stage == pgretry.StageCommit:
		s.commitFailures.Add(1)
	}
}

// Finished is part of an Observer.
func (s *soak) Finished(context.Context, pgretry.Outcome) {}

func (s *soak) work(ctx context.Context) {
	for ctx.Err() == nil {
		s.operation()
	}
}

// operation increments a counter and leaves a row, in one of several ways. One in ten has little time; the others outlast
// every fault.
func (s *soak) operation() {
	s.mu.Lock()
	s.ids++
	id := s.ids
	s.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Second)
	if rand.IntN(10) == 0 {
		ctx, cancel = context.WithTimeout(context.Background(), time.Duration(rand.IntN(30))*time.Millisecond)
		s.cancelled.Add(1)
	}
	defer cancel()
	opts := []pgretry.Option{pgretry.WithName("soak")}
	if id%2 == 0 {
		opts = append(opts, pgretry.WithIsolation(pgx.Serializable))
	}
	row := rand.IntN(counters)
	var err error
	switch rand.IntN(5) {
	case 0:
		_, err = s.group.Do(ctx, id)
	case 1:
		err = s.do(ctx, id, row, append(opts, pgretry.WithKey(strconv.Itoa(row))))
	case 2:
		err = s.do(ctx, id, row, append(opts, pgretry.WithUseReserve()))
	default:
		err = s.do(ctx, id, row, opts)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case err == nil:
		s.committed = append(s.committed, id)
	case isUnknown(err):
		s.unknown = append(s.unknown, id)
	default:
		s.failed = append(s.failed, id)
	}
}

func (s *soak) do(ctx context.Context, id, row int, opts []pgretry.Option) error {
	return s.runner.Do(ctx, s.pool, func(ctx context.Context, tx pgx.Tx) error { return apply(ctx, tx, id, row) }, opts...)
}

// applyAll is the transaction of a group: all its operations are on one counter.
func applyAll(ctx context.Context, tx pgx.Tx, ids []int) ([]struct{}, error) {
	for _, id := range ids {
		if err := apply(ctx, tx, id, 0); err != nil {
			return nil, err
		}
	}
	return make([]struct{}, len(ids)), nil
}

func apply(ctx context.Context, tx pgx.Tx, id, row int) error {
	var n int
	if err := tx.QueryRow(ctx, `select n from counter where id = $1`, row).Scan(&n); err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, `insert into done values ($1, $2)`, id, row); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, `update counter set n = $2 where id = $1`, row, n+1)
	return err
}

// faults makes one after another, at random, until ctx ends. Killing a backend restarts the server, so it is rare.
func (s *soak) faults(ctx context.Context) {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for n := 1; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		switch {
		case n%40 == 0:
			s.kill(ctx)
		case n%3 == 0:
			s.terminate(ctx)
		default:
			s.proxy.Arm(pgtest.Cut{Answer: n%2 == 0, After: rand.IntN(400)})
			s.cuts++
		}
	}
}

func (s *soak) terminate(ctx context.Context) {
	_, err := s.admin.Exec(ctx, `select pg_terminate_backend(pid) from pg_stat_activity
		where state <> 'idle' and pid <> pg_backend_pid() and query ~ 'commit|update' order by random() limit 1`)
	if err == nil {
		s.terminated++
	}
}

func (s *soak) kill(ctx context.Context) {
	var pid int
	err := s.admin.QueryRow(ctx, `select pid from pg_stat_activity where backend_type = 'client backend'
		and pid <> pg_backend_pid() order by state = 'active' desc, random() limit 1`).Scan(&pid)
	if err == nil && syscall.Kill(pid, syscall.SIGKILL) == nil {
		s.killed++
	}
}

func (s *soak) check(t *testing.T) {
	t.Helper()
	var rows [][2]int
	require.Eventually(t, func() bool {
		found, err := s.admin.Query(t.Context(), `select id, count(*) from done group by id`)
		if err != nil {
			return false
		}
		rows, err = pgx.CollectRows(found, func(row pgx.CollectableRow) (r [2]int, err error) {
			return r, row.Scan(&r[0], &r[1])
		})
		return err == nil
	}, 10*time.Second, 50*time.Millisecond)
	applied := map[int]int{}
	total := 0
	for _, r := range rows {
		applied[r[0]] = r[1]
		total += r[1]
		require.Equal(t, 1, r[1], "operation %d applied more than once", r[0])
	}
	for _, id := range s.committed {
		require.Equal(t, 1, applied[id], "operation %d was reported committed", id)
	}
	for _, id := range s.failed {
		require.Zero(t, applied[id], "operation %d was reported failed", id)
	}
	var sum int
	require.NoError(t, s.admin.QueryRow(t.Context(), `select sum(n) from counter`).Scan(&sum))
	require.Equal(t, total, sum, "an update was lost")
	require.Zero(t, s.pool.Stat().AcquiredConns(), "a connection leaked")
}
