package faulttest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// maxConnections is what the server takes, superusers included.
const maxConnections = 40

// settings of the server. Its log is not on the disk that gets full.
func (r *Run) settings() map[string]string {
	return map[string]string{"max_connections": fmt.Sprint(maxConnections), "max_wal_size": "256MB", "log_directory": r.disks.logs}
}

// fullDatabase has the disk of PostgreSQL full, its log of changes included,
// until a statement met it.
func (r *Run) fullDatabase(ctx context.Context) error {
	if err := r.disks.database.fill(); err != nil {
		return err
	}
	r.trial.Home.Emit(3000)
	return errors.Join(pause(ctx, 1500*time.Millisecond+r.moment()), r.disks.database.free())
}

// standby has the server start again as a standby, which takes no writes, and
// promotes it.
func (r *Run) standby(ctx context.Context) error {
	signal := filepath.Join(r.disks.database.path, "postgres", "data", "standby.signal")
	if err := errors.Join(os.WriteFile(signal, nil, 0o600), os.Chmod(signal, 0o666), r.killPostgres(ctx)); err != nil { // PostgreSQL removes it
		return err
	}
	return r.direct(ctx, func(conn *pgx.Conn) error {
		if err := pause(ctx, 500*time.Millisecond+r.moment()); err != nil {
			return err
		}
		_, err := conn.Exec(ctx, `select pg_promote()`)
		return err
	})
}

// exhaust takes every connection that the server has, Concord's too, and gives
// them back.
func (r *Run) exhaust(ctx context.Context) error {
	var held []*pgx.Conn
	defer func() {
		for _, c := range held {
			c.Close(context.WithoutCancel(ctx)) //nolint:errcheck // gone either way
		}
	}()
	full := false
	for end := time.Now().Add(time.Second + r.moment()); time.Now().Before(end); {
		conn, err := pgx.Connect(ctx, r.server.URL())
		switch pgErr, answered := errors.AsType[*pgconn.PgError](err); {
		case err == nil:
			held = append(held, conn)
		case answered && pgErr.Code == "53300":
			full = true
			r.proxy.cutAll()
		}
	}
	if !full && ctx.Err() == nil {
		r.options.Log("the server was down, %d connections taken", len(held))
	}
	return ctx.Err()
}

// direct runs fn with a connection past the proxy, as soon as the server takes
// one.
func (r *Run) direct(ctx context.Context, fn func(conn *pgx.Conn) error) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		conn, err := pgx.Connect(ctx, r.server.URL())
		if err == nil {
			defer conn.Close(context.WithoutCancel(ctx))
			return fn(conn)
		}
		if pause(ctx, 50*time.Millisecond) != nil {
			return err
		}
	}
}

// met counts, in the server's log, the answers to Concord with a SQLSTATE.
func (r *Run) met(sqlstate string) int {
	files, _ := filepath.Glob(filepath.Join(r.disks.logs, "*.log")) // the pattern is valid
	n := 0
	for _, name := range files {
		if b, err := os.ReadFile(name); err == nil {
			n += bytes.Count(b, []byte("sqlstate="+sqlstate+" "))
		}
	}
	return n
}
