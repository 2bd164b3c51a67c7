package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/concord-home/concord/internal/postgres"
)

// quarantineCmd is about records that could not be written.
type quarantineCmd struct {
	List   quarantineListCmd   `cmd:"" help:"List the records in quarantine that were seen last, with the reason and how often each came."`
	Replay quarantineReplayCmd `cmd:"" help:"Try to write records from quarantine again."`
}

type quarantineListCmd struct {
	databaseFlags
	Home  int64 `placeholder:"NUMBER" help:"Only that home's."`
	Limit int   `default:"50" help:"How many."`
}

// Run lists.
func (c *quarantineListCmd) Run(ctx context.Context) error {
	db, err := c.open(ctx)
	if err != nil {
		return err
	}
	defer db.Close()
	found, err := db.FindQuarantined(ctx, c.Home, c.Limit)
	if err != nil {
		return err
	}
	table := tabwriter.NewWriter(os.Stdout, 0, 4, 2, ' ', 0)
	fmt.Fprintln(table, "ID\tHOME\tLAST SEEN\tCOUNT\tFIRST SEEN\tENTITY\tREASON\tSQLSTATE\tRECORD")
	for _, q := range found {
		fmt.Fprintf(table, "%d\t%d\t%s\t%d\t%s\t%s\t%s\t%s\t%.80q\n", q.ID, q.HomeID, q.Last.UTC().Format(time.RFC3339), q.Count,
			q.First.UTC().Format(time.RFC3339), q.EntityID, q.Reason, q.SQLState, q.Record)
	}
	return table.Flush()
}

type quarantineReplayCmd struct {
	databaseFlags
	Home  int64   `placeholder:"NUMBER" help:"Only that home's."`
	Limit int     `default:"1000" help:"How many of the newest."`
	IDs   []int64 `arg:"" optional:"" name:"id" help:"Only these."`
}

// Run replays; records that can still not be written stay where they are.
func (c *quarantineReplayCmd) Run(ctx context.Context) error {
	db, err := c.open(ctx)
	if err != nil {
		return err
	}
	defer db.Close()
	found, err := db.FindQuarantined(ctx, c.Home, max(c.Limit, len(c.IDs)), c.IDs...)
	if err != nil {
		return err
	}
	for _, id := range c.IDs {
		if !slices.ContainsFunc(found, func(q postgres.Quarantined) bool { return q.ID == id }) {
			return exitError{2, fmt.Errorf("record %d is not in quarantine; `concord quarantine list` shows those that are", id)}
		}
	}
	written, kept := 0, 0
	for _, q := range found {
		err := db.Replay(ctx, q)
		if err != nil && !errors.Is(err, postgres.ErrStillBad) {
			return err
		}
		if err != nil {
			fmt.Printf("%d %s: %v\n", q.ID, q.EntityID, err)
			kept++
			continue
		}
		written++
	}
	fmt.Printf("%d written, %d stay in quarantine\n", written, kept)
	return nil
}
