package doctor_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/concord-home/concord/internal/doctor"
	"github.com/concord-home/concord/internal/pgtest"
)

func connect(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(context.Background(), url)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

func exec(t *testing.T, conn *pgx.Conn, sql string) {
	t.Helper()
	_, err := conn.Exec(context.Background(), sql)
	require.NoError(t, err)
}

// TestDatabaseSeesTheScene stages a holder, a waiter behind it and an aborted session, and asks.
func TestDatabaseSeesTheScene(t *testing.T) {
	if testing.Short() {
		t.Skip("starts PostgreSQL")
	}
	url := pgtest.URL(t)
	holder, waiter, aborted := connect(t, url), connect(t, url), connect(t, url)
	exec(t, holder, "CREATE TABLE quant(id int PRIMARY KEY, qty int); INSERT INTO quant VALUES (1, 1)")
	exec(t, holder, "CREATE TABLE child(id int, quant_id int REFERENCES quant)")
	exec(t, holder, "BEGIN ISOLATION LEVEL REPEATABLE READ; UPDATE quant SET qty = 2 WHERE id = 1")
	exec(t, aborted, "BEGIN")
	_, err := aborted.Exec(context.Background(), "SELECT 1/0")
	require.Error(t, err)
	done := make(chan error, 1)
	go func() {
		_, err := waiter.Exec(context.Background(), "UPDATE quant SET qty = 3 WHERE id = 1")
		done <- err
	}()
	var report *doctor.DatabaseReport
	require.Eventually(t, func() bool {
		report, err = doctor.Database(context.Background(), url)
		return err == nil && hasFinding(report, "chain_heads")
	}, 20*time.Second, 50*time.Millisecond)
	for _, check := range []string{"blocked", "chain_heads", "aborted_session", "unindexed_keys"} {
		require.True(t, hasFinding(report, check), "%s in %+v", check, report.Findings)
	}
	for _, skipped := range report.Skipped {
		require.Equal(t, "statements", skipped.Check, skipped.Reason)
	}
	for _, lang := range doctor.Languages {
		story := (&doctor.Report{Database: report}).Tell(lang)
		var b strings.Builder
		require.NoError(t, story.WriteText(&b))
		require.NotContains(t, b.String(), "%!")
		require.NotContains(t, b.String(), "f_")
	}
	exec(t, holder, "ROLLBACK")
	require.NoError(t, <-done)
}

func hasFinding(r *doctor.DatabaseReport, check string) bool {
	for _, f := range r.Findings {
		if f.Check == check {
			return true
		}
	}
	return false
}

func TestDatabaseErrorHidesThePassword(t *testing.T) {
	t.Parallel()
	_, err := doctor.Database(context.Background(), "postgres://me:verysecret@127.0.0.1:1/none?connect_timeout=1")
	require.Error(t, err)
	require.NotContains(t, err.Error(), "verysecret")
	_, err = doctor.Database(context.Background(), "postgres://me:verysecret@[broken")
	require.Error(t, err)
	require.NotContains(t, err.Error(), "verysecret")
}
