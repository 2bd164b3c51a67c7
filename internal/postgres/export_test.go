package postgres

import (
	"context"
	"database/sql"
)

// FindMissingSQL lets tests see how PostgreSQL carries it out.
const FindMissingSQL = findMissingSQL

// Setting asks a connection of the pool for a setting of the server.
func (db *DB) Setting(ctx context.Context, name string) (string, error) {
	var value string
	err := db.pool.QueryRow(ctx, `select current_setting($1)`, name).Scan(&value)
	return value, err
}

// MigrateTo brings the schema to that of an older Concord.
func MigrateTo(ctx context.Context, pool *sql.DB, version int64) error {
	provider, err := newProvider(pool)
	if err == nil {
		_, err = provider.UpTo(ctx, version)
	}
	return err
}
