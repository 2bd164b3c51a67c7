package postgres

import (
	"context"
	"database/sql"
	"embed"
	"fmt"
	"io/fs"
	"time"

	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
)

//go:embed migrations/*.sql
var migrations embed.FS

const (
	migratePause = 500 * time.Millisecond
	migrateTries = 60
)

// migrate brings the schema up to date. A migration that does not get its locks
// within its lock_timeout, or is the victim of a deadlock, leaves nothing behind and
// is tried again: an older Concord may be writing, a backup reading.
func (db *DB) migrate(ctx context.Context) error {
	pool := stdlib.OpenDBFromPool(db.pool)
	defer pool.Close()
	provider, err := newProvider(pool)
	if err != nil {
		return fmt.Errorf("read migrations: %w", err)
	}
	for tries := 1; ; tries++ {
		err := db.migrateOnce(ctx, provider)
		if !isLocked(err) || tries == migrateTries {
			return err
		}
		db.log.Warn("somebody uses the tables that are to be migrated: trying again", "error", err)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(migratePause):
		}
	}
}

// newProvider has one instance migrate while the others wait for it.
func newProvider(pool *sql.DB) (*goose.Provider, error) {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, err
	}
	locker, err := lock.NewPostgresSessionLocker()
	if err != nil {
		return nil, err
	}
	return goose.NewProvider(goose.DialectPostgres, pool, files, goose.WithSessionLocker(locker))
}

func (db *DB) migrateOnce(ctx context.Context, provider *goose.Provider) error {
	results, err := provider.Up(ctx)
	if err != nil {
		return fmt.Errorf("migrate the schema: %w", err)
	}
	for _, r := range results {
		db.log.Info("migrated the schema", "file", r.Source.Path, "took", r.Duration)
	}
	return nil
}
