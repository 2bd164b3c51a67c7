package doctor

import (
	"context"
	"fmt"
	"time"

	"github.com/concord-home/concord/internal/pglog"
)

// Report is all that is known.
type Report struct {
	Made     time.Time
	Logs     *pglog.Result   // nil when no log was read
	Database *DatabaseReport // nil when no server was asked
}

// Options say what to examine.
type Options struct {
	Inputs  []pglog.Input
	Prefix  string
	Since   time.Time
	Until   time.Time
	JSON    *JSONWriter // cascades are streamed to it
	URL     string      // of a server to ask, empty none
	Workers int
	// Progress is told the bytes read and, where known, to be read.
	Progress func(read, total int64)
	// Update is called after each chunk while a log is followed.
	Update func(*pglog.Result)
}

// Examine reads the logs and asks the server. When it returns an error, the report holds what could be read.
func Examine(ctx context.Context, o Options) (*Report, error) {
	report := &Report{Made: time.Now()}
	if len(o.Inputs) > 0 {
		if err := report.readLogs(ctx, o); err != nil {
			return report, err
		}
	}
	if o.URL != "" {
		database, err := Database(ctx, o.URL)
		if err != nil {
			return report, fmt.Errorf("ask the database: %w", err)
		}
		report.Database = database
	}
	return report, nil
}

func (r *Report) readLogs(ctx context.Context, o Options) error {
	options := pglog.Options{
		Prefix: o.Prefix, Since: o.Since, Until: o.Until, Workers: o.Workers, Progress: o.Progress, Update: o.Update,
	}
	if o.JSON != nil {
		options.Cascade = o.JSON.Cascade
	}
	result, err := pglog.Analyze(ctx, o.Inputs, options)
	r.Logs = result
	if err != nil {
		return err
	}
	for _, f := range result.Files {
		if f.Err != nil {
			return fmt.Errorf("read %s: %w", f.Name, f.Err)
		}
	}
	return nil
}

// conflicts counts the errors that a retry of the transaction cures.
func conflicts(r *pglog.Result) int64 {
	t := r.Totals.RootsByState
	return t["40001"] + t["40P01"] + t["55P03"]
}

// Found tells whether there is anything to do: a conflict, an aborted transaction that went on, or a finding of the
// server's.
func (r *Report) Found() bool {
	if r.Logs != nil && (conflicts(r.Logs) > 0 || r.Logs.Totals.Cascades > 0) {
		return true
	}
	return r.Database != nil && len(r.Database.Findings) > 0
}
