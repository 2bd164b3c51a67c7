package faulttest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
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
	if err := r.direct(ctx, func(*pgx.Conn) error { return r.disks.database.fill() }); err != nil {
		return err
	}
	before := r.met("53100")
	r.trial.Home.Emit(3000)
	return errors.Join(r.awaitMet(ctx, "53100", before), pause(ctx, r.moment()), r.disks.database.free())
}

// standby has the server start again as a standby, which takes no writes, and
// promotes it once it refused one.
func (r *Run) standby(ctx context.Context) error {
	signal := filepath.Join(r.disks.database.path, "postgres", "data", "standby.signal")
	before := r.met("0A000")
	if err := errors.Join(os.WriteFile(signal, nil, 0o600), os.Chmod(signal, 0o666), r.killPostgres(ctx)); err != nil { // PostgreSQL removes it
		return err
	}
	return r.direct(ctx, func(conn *pgx.Conn) error {
		if err := errors.Join(r.awaitMet(ctx, "0A000", before), pause(ctx, r.moment())); err != nil {
			return err
		}
		_, err := conn.Exec(ctx, `select pg_promote()`)
		return err
	})
}

// exhaust takes every connection that the server has, Concord's too, until it
// was refused one, and gives them back.
func (r *Run) exhaust(ctx context.Context) error {
	taking, stop := context.WithCancel(ctx)
	defer stop()
	var taker sync.WaitGroup
	taker.Go(func() { r.takeConnections(taking) })
	err := errors.Join(r.awaitMet(ctx, "53300", r.met("53300")), pause(ctx, r.moment()))
	stop()
	taker.Wait()
	return err
}

// takeConnections takes connections until ctx ends.
func (r *Run) takeConnections(ctx context.Context) {
	var held []*pgx.Conn
	defer func() {
		for _, c := range held {
			c.Close(context.WithoutCancel(ctx)) //nolint:errcheck // gone either way
		}
	}()
	for ctx.Err() == nil {
		conn, err := pgx.Connect(ctx, r.server.URL())
		if err == nil {
			held = append(held, conn)
			continue
		}
		if pgErr, answered := errors.AsType[*pgconn.PgError](err); answered && pgErr.Code == "53300" {
			r.proxy.cutAll()
		}
		_ = pause(ctx, 10*time.Millisecond) // the loop ends with ctx
	}
}

// awaitMet waits until Concord was answered an SQLSTATE more often than before,
// for 20 s at most: [Run.Unmet] tells when it never was.
func (r *Run) awaitMet(ctx context.Context, sqlstate string, before int) error {
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end) && r.met(sqlstate) == before; {
		if err := pause(ctx, 50*time.Millisecond); err != nil {
			return err
		}
	}
	return nil
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
