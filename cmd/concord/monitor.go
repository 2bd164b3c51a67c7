package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/concord-home/concord/internal/doctor"
	"github.com/concord-home/concord/internal/pglog"
)

// monitorCmd shows conflicts as they happen: from a growing log, a database, or Concord's metrics.
type monitorCmd struct {
	Log      string        `xor:"source" placeholder:"FILE" help:"A log that is being written."`
	Database string        `env:"CONCORD_DOCTOR_DATABASE" placeholder:"URL" help:"A running server; beside a log or metrics it tells who blocks others."`
	Metrics  string        `xor:"source" placeholder:"URL" help:"Concord's metrics, http://host:port/metrics."`
	Token    string        `env:"METRICS_TOKEN" hidden:"" help:"Token for the metrics."`
	Every    time.Duration `default:"2s" help:"Time between two looks."`
	FromEnd  bool          `help:"Leave out what the log already holds."`
	Lang     string        `enum:",en,zh-Hant,ru" default:"" help:"Language; taken from the environment when not given."`
}

// Run watches until it is interrupted. On a terminal it draws a page, else it prints a line for each look.
func (c *monitorCmd) Run(ctx context.Context) error {
	lang := c.Lang
	if lang == "" {
		lang = localeLanguage()
	}
	show := func(v *doctor.View) { v.WriteLine(os.Stdout, lang) }
	if isTerminal(os.Stdout) {
		show = func(v *doctor.View) {
			width, _ := terminalSize(os.Stdout)
			v.WriteScreen(os.Stdout, lang, width)
		}
		fmt.Print("\033[2J")
	}
	every := max(c.Every, 200*time.Millisecond)
	if c.Database != "" && c.Log+c.Metrics != "" {
		server := &doctor.DatabaseSource{URL: c.Database}
		defer server.Close()
		alone := show
		show = func(v *doctor.View) {
			server.Blockers(ctx, v)
			alone(v)
		}
	}
	switch {
	case c.Log != "":
		return c.watchLog(ctx, every, show)
	case c.Metrics != "":
		return unreadable(doctor.WatchMetrics(ctx, c.Metrics, c.Token, every, show))
	case c.Database != "":
		return unreadable(doctor.WatchDatabase(ctx, c.Database, every, show))
	}
	return exitError{2, errors.New("nothing to watch: give --log FILE, --database URL or --metrics URL")}
}

// unreadable gives an error the exit code of what could not be read.
func unreadable(err error) error {
	if err == nil {
		return nil
	}
	return exitError{2, err}
}

func (c *monitorCmd) watchLog(ctx context.Context, every time.Duration, show func(*doctor.View)) error {
	tail, err := doctor.NewTail(ctx, c.Log, c.FromEnd)
	if err != nil {
		return exitError{2, err}
	}
	defer func() { _ = tail.Close() }()
	monitor := doctor.NewLogMonitor(c.Log)
	ctx, stop := context.WithCancel(ctx)
	var shown sync.WaitGroup
	shown.Go(func() { monitor.Run(ctx, every, show) })
	defer shown.Wait()
	defer stop()
	_, err = doctor.Examine(ctx, doctor.Options{
		Inputs: []pglog.Input{{Path: c.Log, Name: c.Log, Reader: tail, Follow: true}}, Update: monitor.Update,
	})
	return err
}
