// Package pgretryslog logs what pgretry does.
package pgretryslog

import (
	"context"
	"log/slog"

	"github.com/concord-home/concord/pgretry"
)

// Observer logs failed attempts at level Debug, calls that a retry saved at Info, calls that failed at Error and
// notices at Warn. It logs no argument of a statement.
type Observer struct{ log *slog.Logger }

var (
	_ pgretry.Observer = Observer{}
	_ pgretry.Noticer  = Observer{}
)

// New returns an Observer that writes to log; nil means slog.Default.
func New(log *slog.Logger) Observer {
	if log == nil {
		log = slog.Default()
	}
	return Observer{log}
}

// AttemptFailed logs one failed attempt.
func (o Observer) AttemptFailed(ctx context.Context, a pgretry.Attempt) {
	o.log.LogAttrs(ctx, slog.LevelDebug, "transaction attempt failed",
		slog.String("transaction", a.Name), slog.Int("attempt", a.Number), slog.String("stage", string(a.Stage)),
		slog.String("sqlstate", a.SQLSTATE), slog.Any("error", a.Err), slog.Duration("took", a.Took),
		slog.Bool("retry", a.Retry), slog.Duration("wait", a.Wait))
}

// Finished logs a call that needed more than one attempt, or failed.
func (o Observer) Finished(ctx context.Context, out pgretry.Outcome) {
	attrs := []slog.Attr{
		slog.String("transaction", out.Name), slog.Int("attempts", out.Attempts),
		slog.Duration("elapsed", out.Elapsed), slog.Duration("queued", out.Queued), slog.String("sqlstate", out.Failed.SQLSTATE),
	}
	switch {
	case out.Err != nil:
		o.log.LogAttrs(ctx, slog.LevelError, "transaction failed", append(attrs, slog.Any("error", out.Err))...)
	case out.Attempts > 1:
		o.log.LogAttrs(ctx, slog.LevelInfo, "transaction retried and committed", attrs...)
	}
}

// Noticed logs a change in how transactions run.
func (o Observer) Noticed(ctx context.Context, n pgretry.Notice) {
	attrs := []slog.Attr{slog.String("transaction", n.Name), slog.String("notice", string(n.Kind)), slog.String("key", n.Key)}
	if len(n.Blockers) > 0 {
		blockers := make([]string, 0, len(n.Blockers))
		for _, b := range n.Blockers {
			blockers = append(blockers, b.String())
		}
		attrs = append(attrs, slog.Any("blockers", blockers))
	}
	o.log.LogAttrs(ctx, slog.LevelWarn, "transaction notice", attrs...)
}
