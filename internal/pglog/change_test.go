package pglog_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/concord-home/concord/internal/pglog"
)

// TestPrefixThatGrowsInMidFile does what the report advises: %a, %e, %x and %v are added behind the old prefix. A
// database's name could hold all of it; it must not.
func TestPrefixThatGrowsInMidFile(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	line := func(n int, prefix, text string) {
		fmt.Fprintf(&b, "2026-11-22 10:00:%02d.000 UTC [%d] odoo@prod %s%s\n", n%60, 100+n, prefix, text)
	}
	for n := range 30 {
		line(n, "", "ERROR:  division by zero")
		line(n, "", "STATEMENT:  SELECT 1/0")
	}
	for n := 30; n < 40; n++ {
		grown := fmt.Sprintf("app=page e=40001 x=%d v=9/%d ", n, n)
		line(n, grown, "ERROR:  could not serialize access due to concurrent update")
		line(n, grown, "STATEMENT:  UPDATE stock SET qty = 1")
		line(n, fmt.Sprintf("app=page e=25P02 x=%d v=9/0 ", n), "ERROR:  current transaction is aborted, commands ignored until end of transaction block")
	}
	r := analyzeText(t, b.String(), pglog.Options{})
	require.Equal(t, int64(10), r.Totals.Cascades)
	require.Equal(t, int64(10), r.Totals.CascadesWithRoot, "%v", r.Unproven)
	for _, in := range r.Incidents {
		require.Equal(t, "prod", in.Database)
		if in.SQLState == "40001" {
			require.Equal(t, "page", in.Application)
		}
	}
}
