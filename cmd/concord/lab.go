package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/concord-home/concord/internal/lab"
	"github.com/concord-home/concord/internal/pgembed"
)

type labCmd struct {
	Database string        `env:"CONCORD_LAB_DATABASE" placeholder:"URL" help:"PostgreSQL to use; a schema is made and dropped. Without it a private one is run."`
	Strategy []string      `placeholder:"NAME" help:"Strategies; all without it: none, 3x0.5s, 0.5-1-2s, savepoint, odoo5, pgretry, one-writer."`
	Events   []float64     `default:"5,10,20,100" help:"State changes a second that the service writes."`
	Readers  []int         `default:"1,10,20,100" help:"Dashboard requests at once."`
	Areas    int           `default:"6" help:"Areas."`
	Entities int           `default:"70" help:"Entities."`
	Duration time.Duration `default:"3s" help:"Time per cell."`
	JSON     bool          `name:"json" help:"Print JSON."`
	HTML     string        `name:"html" placeholder:"FILE" help:"Also write the table with charts as one HTML file."`
}

// Help is what `concord lab --help` says beneath the usage.
func (*labCmd) Help() string {
	var b strings.Builder
	b.WriteString("Dashboard requests write the rows that a background service writes too, and\nPostgreSQL refuses one of them. Each strategy meets that in its own way:\n\n")
	for _, s := range lab.Strategies() {
		fmt.Fprintf(&b, "  %-10s %s\n", s.Name, s.About)
	}
	return b.String()
}

// Run measures every cell and prints a line for each.
func (c *labCmd) Run(ctx context.Context) error {
	strategies, err := c.strategies()
	if err := errors.Join(err, c.check()); err != nil {
		return exitError{2, err}
	}
	url, stop, err := c.database(ctx)
	if err != nil {
		return err
	}
	defer stop()
	report := lab.Report{Machine: fmt.Sprintf("%s/%s, %d processors", runtime.GOOS, runtime.GOARCH, runtime.NumCPU()), Duration: c.Duration.String()}
	if !c.JSON {
		fmt.Printf("%s, %v a cell, %d areas, %d entities\n%s\n", report.Machine, c.Duration, c.Areas, c.Entities, lab.TableHeader)
	}
	cells, begin := len(strategies)*len(c.Events)*len(c.Readers), time.Now()
	for _, s := range strategies {
		for _, events := range c.Events {
			for _, readers := range c.Readers {
				c.progress(len(report.Results), cells, begin)
				r, err := lab.Experiment{
					URL: url, Strategy: s, Events: events, Readers: readers, Areas: c.Areas, Entities: c.Entities, Duration: c.Duration,
				}.Run(ctx)
				if err != nil {
					return err
				}
				clearProgress()
				report.Results = append(report.Results, r)
				if !c.JSON {
					fmt.Println(r.TableRow())
				}
			}
		}
	}
	if !c.JSON {
		fmt.Println(lab.TableLegend)
	}
	return c.write(report)
}

// progress says on a terminal how far the run is; a cell takes longer than its time when requests wait.
func (c *labCmd) progress(done, cells int, begin time.Time) {
	if !isTerminal(os.Stderr) {
		return
	}
	each := c.Duration
	if done > 0 {
		each = time.Since(begin) / time.Duration(done)
	}
	fmt.Fprintf(os.Stderr, "\r[%d/%d] %v left\033[K", done, cells, (each * time.Duration(cells-done)).Round(time.Second))
}

// check refuses sizes that no experiment can have.
func (c *labCmd) check() error {
	switch {
	case slices.ContainsFunc(c.Events, func(n float64) bool { return n < 0 || n > 100_000 }):
		return errors.New("--events: want 0 to 100000 a second")
	case slices.ContainsFunc(c.Readers, func(n int) bool { return n < 1 || n > 10_000 }):
		return errors.New("--readers: want 1 to 10000")
	case c.Areas < 1 || c.Entities < 1:
		return errors.New("--areas, --entities: want 1 or more")
	case c.Duration <= 0:
		return errors.New("--duration: want a time such as 3s")
	}
	return nil
}

func (c *labCmd) write(report lab.Report) error {
	if c.HTML != "" {
		f, err := os.Create(c.HTML)
		if err != nil {
			return err
		}
		if err := errors.Join(report.WriteHTML(f), f.Close()); err != nil {
			return err
		}
	}
	if c.JSON {
		return json.NewEncoder(os.Stdout).Encode(report)
	}
	return nil
}

func (c *labCmd) strategies() ([]lab.Strategy, error) {
	all := lab.Strategies()
	if len(c.Strategy) == 0 {
		return all, nil
	}
	var chosen []lab.Strategy
	for _, name := range c.Strategy {
		i := slices.IndexFunc(all, func(s lab.Strategy) bool { return s.Name == name })
		if i < 0 {
			return nil, fmt.Errorf("--strategy: there is no %q; see concord lab --help", name)
		}
		chosen = append(chosen, all[i])
	}
	return chosen, nil
}

func (c *labCmd) database(ctx context.Context) (url string, stop func(), err error) {
	if c.Database != "" {
		return c.Database, func() {}, nil
	}
	dir, err := os.MkdirTemp("", "concord-lab-")
	if err != nil {
		return "", nil, err
	}
	server, err := pgembed.Start(ctx, pgembed.Options{Dir: dir, Settings: map[string]string{"max_connections": "200", "deadlock_timeout": "1s"}})
	if err != nil {
		os.RemoveAll(dir)
		return "", nil, err
	}
	return server.URL(), func() {
		_ = server.Stop()
		os.RemoveAll(dir)
	}, nil
}
