package pgtest

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"
)

// Pool returns a pool of at most size connections whose search_path starts with a schema of the test's own.
func Pool(tb testing.TB, size int32) *pgxpool.Pool {
	tb.Helper()
	return PoolOf(tb, URL(tb), size)
}

// PoolOf is [Pool] on the server at url.
func PoolOf(tb testing.TB, url string, size int32) *pgxpool.Pool {
	tb.Helper()
	config := Config(tb, url)
	config.MaxConns = size
	pool, err := pgxpool.NewWithConfig(context.Background(), config)
	require.NoError(tb, err)
	tb.Cleanup(pool.Close)
	return pool
}

// Config returns the configuration of a pool on the server at url, in a new schema that goes with the test.
func Config(tb testing.TB, url string) *pgxpool.Config {
	tb.Helper()
	ctx := context.Background()
	admin, err := pgxpool.New(ctx, url)
	require.NoError(tb, err)
	tb.Cleanup(admin.Close)
	var schema string
	require.NoError(tb, admin.QueryRow(ctx, `select 't_' || replace(gen_random_uuid()::text, '-', '')`).Scan(&schema))
	_, err = admin.Exec(ctx, `create schema `+schema)
	require.NoError(tb, err)
	tb.Cleanup(func() { _, _ = admin.Exec(ctx, `drop schema if exists `+schema+` cascade`) })
	config, err := pgxpool.ParseConfig(url)
	require.NoError(tb, err)
	config.ConnConfig.RuntimeParams["search_path"] = schema
	return config
}

// Exec runs statements that must work.
func Exec(tb testing.TB, pool *pgxpool.Pool, statements ...string) {
	tb.Helper()
	for _, sql := range statements {
		_, err := pool.Exec(context.Background(), sql)
		require.NoError(tb, err, sql)
	}
}

// Reconnect replaces conn by a connection to the cluster, once that accepts one.
func (c *Cluster) Reconnect(tb testing.TB, conn **pgx.Conn) {
	tb.Helper()
	_ = (*conn).Close(context.Background())
	require.NoError(tb, c.await())
	next, err := pgx.Connect(context.Background(), c.URL())
	require.NoError(tb, err)
	tb.Cleanup(func() { _ = next.Close(context.Background()) })
	*conn = next
}

// Connect returns a pool with the given configuration, closed when the test ends.
func Connect(tb testing.TB, config *pgxpool.Config) *pgxpool.Pool {
	tb.Helper()
	pool, err := pgxpool.NewWithConfig(context.Background(), config)
	require.NoError(tb, err)
	tb.Cleanup(pool.Close)
	return pool
}
