package pgretry_test

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestUsersInheritPgxAlone keeps the dependencies of those who import pgretry to the standard library and pgx: whatever
// else it imported, they would have to audit and update.
func TestUsersInheritPgxAlone(t *testing.T) {
	t.Parallel()
	out, err := exec.Command("go", "list", "-deps", "-f", "{{if not .Standard}}{{.ImportPath}}{{end}}",
		".", "./pgretrytest", "./pgretryslog", "./pgretrysql").Output()
	require.NoError(t, err)
	allowed := []string{
		"github.com/concord-home/concord/pgretry", "github.com/jackc/", // pgx, and the author's libraries below it
		"golang.org/x/sync/semaphore", "golang.org/x/text/", // pgx's
	}
	for path := range strings.FieldsSeq(string(out)) {
		ok := false
		for _, prefix := range allowed {
			ok = ok || strings.HasPrefix(path, prefix)
		}
		require.True(t, ok, "%s would reach the users of pgretry", path)
	}
}
