package main

import (
	"bufio"
	"context"
	"encoding/csv"
	"encoding/json"
	"io"
	"os"
	"time"

	"github.com/concord-home/concord"
	"github.com/concord-home/concord/internal/postgres"
)

// exportCmd writes history to standard output or a file.
type exportCmd struct {
	databaseFlags
	Entity string `arg:"" optional:"" help:"Entity id or a pattern such as 'sensor.*_temperature'; all without it."`
	Home   int64  `placeholder:"NUMBER" help:"Number of the home, needed when there are several."`
	From   string `default:"24h" help:"Begin: a time such as '2026-11-22 10:00' or an age such as 2h."`
	To     string `help:"End; now without it."`
	Format string `enum:"csv,jsonl" default:"csv" help:"csv or jsonl."`
	Out    string `placeholder:"FILE" help:"File to write; standard output without it."`
}

// Run exports.
func (c *exportCmd) Run(ctx context.Context) (err error) {
	from, err := parseTime("--from", c.From, time.Now())
	if err != nil {
		return exitError{2, err}
	}
	to, err := parseTime("--to", c.To, time.Now())
	if err != nil {
		return exitError{2, err}
	}
	if to.IsZero() {
		to = time.Now()
	}
	db, err := c.open(ctx)
	if err != nil {
		return err
	}
	defer db.Close()
	home, err := theHome(ctx, db, c.Home)
	if err != nil {
		return err
	}
	out := os.Stdout
	if c.Out != "" {
		if out, err = os.Create(c.Out); err != nil {
			return err
		}
		defer func() {
			if closeErr := out.Close(); err == nil {
				err = closeErr
			}
		}()
	}
	buffered := bufio.NewWriter(out)
	write, finish := rowWriter(buffered, c.Format)
	if err := db.Export(ctx, home, c.Entity, from, to, write); concord.ErrorCode(err) == concord.CodeInvalid {
		return exitError{2, err}
	} else if err != nil {
		return err
	}
	if err := finish(); err != nil {
		return err
	}
	return buffered.Flush()
}

// rowWriter returns what writes a row, and what ends the output.
func rowWriter(w io.Writer, format string) (write func(postgres.HistoryRow) error, finish func() error) {
	if format == "jsonl" {
		encoder := json.NewEncoder(w)
		return func(r postgres.HistoryRow) error { return encoder.Encode(r) }, func() error { return nil }
	}
	table := csv.NewWriter(w)
	// Writing to memory does not fail; Error tells of the rest at the end.
	_ = table.Write([]string{"entity_id", "last_updated", "last_changed", "state", "attributes", "source"})
	return func(r postgres.HistoryRow) error {
			return table.Write([]string{
				r.EntityID, r.LastUpdated.Format(time.RFC3339Nano), r.LastChanged.Format(time.RFC3339Nano), r.State, string(r.Attributes), r.Source,
			})
		}, func() error {
			table.Flush()
			return table.Error()
		}
}
