package deploy_test

import (
	"context"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/concord-home/concord/internal/trial"
)

// Every query that the runbook tells people to type is one that Concord's
// database answers, and every setting one that it knows.
func TestEveryQueryOfTheRunbookIsAnswered(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("starts Concord")
	}
	text, err := os.ReadFile("../docs/runbook.md")
	require.NoError(t, err)
	c, err := trial.Start(t.Context(), trial.Options{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, c.Stop()) })
	conn, err := pgx.Connect(t.Context(), c.DB)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, conn.Close(context.Background())) })

	asked := 0
	for _, m := range regexp.MustCompile(`(?s) -c (?:'([^']*)'|"([^"]*)")`).FindAllStringSubmatch(string(text), -1) {
		query := m[1] + m[2]
		if strings.HasPrefix(query, "rollback prepared") {
			continue // of a transaction that is not there
		}
		_, err := conn.Exec(t.Context(), query)
		require.NoError(t, err, query)
		asked++
	}
	require.GreaterOrEqual(t, asked, 11)
}
