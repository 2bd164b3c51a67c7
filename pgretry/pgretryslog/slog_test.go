package pgretryslog_test

import (
	"bytes"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/concord-home/concord/pgretry"
	"github.com/concord-home/concord/pgretry/pgretryslog"
)

func TestObserver(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	plain := func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}
	o := pgretryslog.New(slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug, ReplaceAttr: plain})))
	o.AttemptFailed(t.Context(), pgretry.Attempt{Name: "pay", Number: 1, Stage: pgretry.StageCommit, SQLSTATE: "40001", Err: errors.New("no"), Retry: true, Wait: time.Second})
	o.Finished(t.Context(), pgretry.Outcome{Name: "pay", Attempts: 1})
	o.Finished(t.Context(), pgretry.Outcome{Name: "pay", Attempts: 2})
	o.Finished(t.Context(), pgretry.Outcome{Name: "pay", Attempts: 3, Err: pgretry.ErrExhausted})
	o.Noticed(t.Context(), pgretry.Notice{Kind: pgretry.NoticeQueued, Name: "pay", Key: "account"})
	require.Equal(t, `level=DEBUG msg="transaction attempt failed" transaction=pay attempt=1 stage=commit sqlstate=40001 error=no took=0s retry=true wait=1s
level=INFO msg="transaction retried and committed" transaction=pay attempts=2 elapsed=0s queued=0s sqlstate=""
level=ERROR msg="transaction failed" transaction=pay attempts=3 elapsed=0s queued=0s sqlstate="" error="retries exhausted"
level=WARN msg="transaction notice" transaction=pay notice=queued key=account
`, out.String())
}
