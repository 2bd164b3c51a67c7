package doctor

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/concord-home/concord/internal/pglog"
)

// Report is all that is known.
type Report struct {
	Made     time.Time
	Since    time.Time       // what is older was not counted
	Until    time.Time       // nor what is newer
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

// ErrNoLog tells that inputs were read and none of them looks like a log.
var ErrNoLog = errors.New("nothing here looks like a log of PostgreSQL or Odoo; if it is one, give the server's log_line_prefix with --prefix")

// Examine reads the logs and asks the server. When it returns an error, the report holds what could be found out
// nevertheless.
func Examine(ctx context.Context, o Options) (*Report, error) {
	report := &Report{Made: time.Now(), Since: o.Since, Until: o.Until}
	var logErr, databaseErr error
	if len(o.Inputs) > 0 {
		logErr = report.readLogs(ctx, o)
	}
	if o.URL != "" {
		if report.Database, databaseErr = Database(ctx, o.URL); databaseErr != nil {
			databaseErr = fmt.Errorf("ask the database: %w", databaseErr)
		}
	}
	return report, errors.Join(logErr, databaseErr)
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
	if err != nil && !errors.Is(err, pglog.ErrNothingRead) {
		return err
	}
	for _, f := range result.Files {
		if f.Err != nil {
			return fmt.Errorf("read %s: %w", f.Name, f.Err)
		}
	}
	if r.noLog() {
		return ErrNoLog
	}
	return err
}

// noLog tells that there was text and none of it was a log.
func (r *Report) noLog() bool {
	if r.Logs == nil || r.Logs.Totals.ErrorRecords > 0 || r.Logs.Records > 0 {
		return false
	}
	strange := false
	for _, f := range r.Logs.Files {
		if f.Err == nil && f.Lines > 0 && !isNoLog(&f) {
			return false
		}
		strange = strange || isNoLog(&f)
	}
	return strange
}

// isNoLog tells that no line of a file was understood.
func isNoLog(f *pglog.FileInfo) bool { return f.Err == nil && f.Format == "unknown" && f.Lines > 0 }

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
