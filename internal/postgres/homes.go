package postgres

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

	"github.com/concord-home/concord"
)

// FindHomes implements [concord.HomeService].
func (db *DB) FindHomes(ctx context.Context) ([]concord.Home, error) {
	rows, err := db.pool.Query(ctx, `
		select home_id, name, url, description, active, sequence
		from home
		order by sequence, home_id`)
	if err != nil {
		return nil, classify(err)
	}
	homes, err := pgx.CollectRows(rows, pgx.RowToStructByPos[concord.Home])
	if err != nil {
		return nil, classify(err)
	}
	return homes, nil
}

// EnsureHome implements [concord.HomeService].
func (db *DB) EnsureHome(ctx context.Context, name, url string) (concord.Home, error) {
	var home concord.Home
	err := db.write(ctx, "homes", func(ctx context.Context, tx pgx.Tx) error {
		var err error
		if home, err = homeByURL(ctx, tx, url); !errors.Is(err, pgx.ErrNoRows) {
			return err
		}
		rows, err := tx.Query(ctx, `
			insert into home (name, url)
			values ($1, $2)
			returning home_id, name, url, description, active, sequence`, name, url)
		if err != nil {
			return err
		}
		home, err = pgx.CollectExactlyOneRow(rows, pgx.RowToStructByPos[concord.Home])
		return err
	})
	return home, err
}

func homeByURL(ctx context.Context, tx pgx.Tx, url string) (concord.Home, error) {
	rows, err := tx.Query(ctx, `
		select home_id, name, url, description, active, sequence
		from home
		where url = $1`, url)
	if err != nil {
		return concord.Home{}, err
	}
	return pgx.CollectExactlyOneRow(rows, pgx.RowToStructByPos[concord.Home])
}
