package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"time"

	"github.com/concord-home/concord/internal/doctor"
	"github.com/concord-home/concord/internal/pglog"
)

// doctorCmd reads logs and asks a server. Exit code 0: nothing found, 1: found, 2: could not read.
type doctorCmd struct {
	JSON     bool     `name:"json" help:"Print one JSON object instead of the report."`
	HTML     string   `name:"html" placeholder:"FILE" help:"Also write the report as one HTML file that works offline."`
	Database string   `env:"CONCORD_DOCTOR_DATABASE" placeholder:"URL" help:"Look at a running server too: read-only, one connection, each question with a time limit."`
	Follow   bool     `help:"Keep reading as the log grows, until interrupted."`
	Since    string   `placeholder:"TIME" help:"Leave out what is older: 2026-11-22, \"2026-11-22 10:00\" (UTC), 10:00, or an age such as 30m, 2h or 3d."`
	Until    string   `placeholder:"TIME" help:"Leave out what is newer; the same forms."`
	Prefix   string   `placeholder:"PREFIX" help:"The server's log_line_prefix; it is found out when not given."`
	Lang     string   `enum:",en,zh-Hant,ru" default:"" help:"Language of the report; taken from the environment when not given."`
	Files    []string `arg:"" optional:"" name:"file" help:"Logs, directories, or - for standard input; gz, zst and bz2 are unpacked; rotated sets are put in order."`
}

// gcPercent trades memory for speed: what lives is small (some 20 MB), so the process stays far below 200 MB.
const gcPercent = 300

// Run examines and prints.
func (c *doctorCmd) Run(ctx context.Context) error {
	if len(c.Files) == 0 && c.Database == "" {
		return exitError{2, errors.New("nothing to examine: give a log file, a directory, - for standard input, or --database URL")}
	}
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	options, closeInputs, err := c.options(ctx)
	if err != nil {
		return exitError{2, err}
	}
	defer closeInputs()
	report, err := doctor.Examine(ctx, options)
	clearProgress()
	if ctx.Err() != nil && !c.Follow {
		err = errors.New("interrupted: the report is about what was read until then")
	}
	if writeErr := c.write(report, options.JSON); writeErr != nil {
		return exitError{2, writeErr}
	}
	switch {
	case err != nil:
		return exitError{2, err}
	case report.Found():
		return exitError{code: 1}
	}
	return nil
}

// options turns flags into what the doctor takes.
func (c *doctorCmd) options(ctx context.Context) (doctor.Options, func(), error) {
	o := doctor.Options{Prefix: c.Prefix, URL: c.Database, Progress: progressBar()}
	var err error
	now := time.Now()
	if o.Since, err = parseTime("--since", c.Since, now); err != nil {
		return o, nil, err
	}
	if o.Until, err = parseTime("--until", c.Until, now); err != nil {
		return o, nil, err
	}
	if !o.Since.IsZero() && !o.Until.IsZero() && o.Until.Before(o.Since) {
		return o, nil, errors.New("--until lies before --since: nothing can be in between")
	}
	if c.Prefix != "" {
		if _, err := pglog.CompilePrefix(c.Prefix); err != nil {
			return o, nil, fmt.Errorf("--prefix: %w", err)
		}
	}
	if o.Inputs, err = doctor.Inputs(c.Files); err != nil {
		return o, nil, err
	}
	closeInputs := func() {}
	if c.Follow {
		if closeInputs, err = c.follow(ctx, &o); err != nil {
			return o, nil, err
		}
	}
	if c.JSON {
		o.JSON = doctor.NewJSONWriter(os.Stdout)
	}
	return o, closeInputs, nil
}

// follow replaces the file by a reader that waits for more.
func (c *doctorCmd) follow(ctx context.Context, o *doctor.Options) (func(), error) {
	if len(o.Inputs) != 1 || o.Inputs[0].Path == "-" {
		return nil, errors.New("--follow takes exactly one file")
	}
	tail, err := doctor.NewTail(ctx, o.Inputs[0].Path, false)
	if err != nil {
		return nil, err
	}
	o.Inputs[0].Reader, o.Inputs[0].Follow = tail, true
	o.Progress = nil
	if !c.JSON {
		o.Update = doctor.LinePrinter(os.Stdout, c.language())
	}
	return func() { _ = tail.Close() }, nil
}

func (c *doctorCmd) write(report *doctor.Report, out *doctor.JSONWriter) error {
	story := report.Tell(c.language())
	story.Width, story.Height = terminalSize(os.Stdout)
	printed := func() error {
		if out != nil {
			return out.Close(report)
		}
		return story.WriteText(os.Stdout)
	}()
	if c.HTML == "" {
		return printed
	}
	return errors.Join(printed, writeFile(c.HTML, story.WriteHTML))
}

func (c *doctorCmd) language() string {
	if c.Lang != "" {
		return c.Lang
	}
	return localeLanguage()
}

func localeLanguage() string {
	for _, name := range []string{"LC_ALL", "LC_MESSAGES", "LANG"} {
		if v := os.Getenv(name); v != "" {
			return doctor.LanguageOf(v)
		}
	}
	return "en"
}

func writeFile(path string, write func(io.Writer) error) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	if err := write(f); err != nil {
		_ = f.Close()
		return err
	}
	return f.Close()
}

// parseTime reads the time of a flag; zero when it is not given.
func parseTime(flag, text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	t, err := doctor.ParseTime(text, now)
	if err != nil {
		return time.Time{}, fmt.Errorf("%s %w", flag, err)
	}
	return t, nil
}
