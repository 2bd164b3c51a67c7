package main

import (
	"context"
	"fmt"
	"time"

	"github.com/concord-home/concord/internal/app"
	"github.com/concord-home/concord/internal/postgres"
)

// databaseFlags say which database a command works on.
type databaseFlags struct {
	Data string `env:"CONCORD_DATA" placeholder:"DIR" help:"Data directory of the server, whose database is used unless DATABASE_URL is set."`
}

func (f *databaseFlags) open(ctx context.Context) (*postgres.DB, error) {
	url, err := secret("DATABASE_URL")
	if err == nil && url == "" {
		url, err = app.DatabaseURL(f.Data)
	}
	if err != nil {
		return nil, err
	}
	return postgres.Open(ctx, postgres.Options{URL: url, ApplicationName: "concord-cli", MaxConns: 2, Wait: 5 * time.Second})
}

// theHome returns the home with that number; without one, the only home.
func theHome(ctx context.Context, db *postgres.DB, id int64) (int64, error) {
	homes, err := db.FindHomes(ctx)
	if err != nil {
		return 0, err
	}
	if id == 0 && len(homes) == 1 {
		return homes[0].ID, nil
	}
	for _, h := range homes {
		if h.ID == id {
			return id, nil
		}
	}
	return 0, exitError{2, fmt.Errorf("there are %d homes: name one with --home", len(homes))}
}
