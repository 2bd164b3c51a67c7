package main

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// retentionCmd drops old history now; the server does it by itself every minute.
type retentionCmd struct {
	databaseFlags
	Keep time.Duration `default:"240h" help:"How much raw history and 5-minute statistics to keep; whole days (UTC) are dropped, and records in quarantine that did not come again. Hourly statistics stay."`
}

// Run drops whole partitions.
func (c *retentionCmd) Run(ctx context.Context) error {
	if c.Keep < 24*time.Hour { // the server writes to the partitions of today and tomorrow
		return exitError{2, errors.New("--keep: want at least 24h")}
	}
	db, err := c.open(ctx)
	if err != nil {
		return err
	}
	defer db.Close()
	begin := time.Now()
	dropped, err := db.DropHistory(ctx, time.Now().Add(-c.Keep))
	for _, name := range dropped {
		fmt.Println("dropped", name)
	}
	fmt.Printf("%d partitions in %v\n", len(dropped), time.Since(begin).Round(time.Millisecond))
	return err
}
