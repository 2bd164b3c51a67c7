package deploy_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
)

// tool returns the path of a program of Prometheus, or skips.
func tool(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("%s is not installed (Debian: apt-get install prometheus prometheus-alertmanager)", name)
	}
	return path
}

func run(t *testing.T, name string, args ...string) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), tool(t, name), args...).CombinedOutput()
	require.NoError(t, err, string(out))
}

func TestConfigurations(t *testing.T) {
	t.Parallel()
	t.Run("Prometheus", func(t *testing.T) { t.Parallel(); run(t, "promtool", "check", "config", "prometheus/prometheus.yml") })
	t.Run("Rules", func(t *testing.T) { t.Parallel(); run(t, "promtool", "check", "rules", "prometheus/rules/concord.yml") })
	t.Run("EachAlertFiresAndStaysSilent", func(t *testing.T) {
		t.Parallel()
		run(t, "promtool", "test", "rules", "prometheus/tests/concord.yml")
	})
	t.Run("Alertmanager", func(t *testing.T) { t.Parallel(); run(t, "amtool", "check-config", "alertmanager/alertmanager.yml") })
}

type rule struct {
	Record, Alert, Expr string
	Labels, Annotations map[string]string
}

func rules(t *testing.T) []rule {
	t.Helper()
	b, err := os.ReadFile("prometheus/rules/concord.yml")
	require.NoError(t, err)
	var file struct{ Groups []struct{ Rules []rule } }
	require.NoError(t, yaml.Unmarshal(b, &file))
	var all []rule
	for _, g := range file.Groups {
		all = append(all, g.Rules...)
	}
	require.NotEmpty(t, all)
	return all
}

// An alert that leads nowhere helps nobody at night, and one without a test may
// never fire.
func TestEveryAlertHasARunbookAndATest(t *testing.T) {
	t.Parallel()
	runbook, err := os.ReadFile("../docs/runbook.md")
	require.NoError(t, err)
	tests, err := os.ReadFile("prometheus/tests/concord.yml")
	require.NoError(t, err)
	for _, r := range rules(t) {
		if r.Alert == "" {
			continue
		}
		page, anchor, found := strings.Cut(r.Annotations["runbook_url"], "#")
		require.True(t, found, r.Alert)
		require.True(t, strings.HasSuffix(page, "/docs/runbook.md"), r.Alert)
		require.Contains(t, string(runbook), `<a id="`+anchor+`"></a>`, r.Alert)
		for _, what := range []string{"fires", "stays silent"} {
			require.Contains(t, string(tests), r.Alert+" ("+r.Labels["severity"]+") "+what)
		}
	}
}

type query struct{ where, expr string }

// panelQueries are the queries of every panel of every dashboard.
func panelQueries(t *testing.T) []query {
	t.Helper()
	files, err := filepath.Glob("grafana/dashboards/*.json")
	require.NoError(t, err)
	require.Len(t, files, 2)
	var all []query
	for _, name := range files {
		b, err := os.ReadFile(name)
		require.NoError(t, err)
		var d struct {
			Title  string
			Panels []struct {
				Title   string
				Targets []struct{ Expr string }
			}
		}
		require.NoError(t, json.Unmarshal(b, &d))
		for _, p := range d.Panels {
			require.NotEmpty(t, p.Targets, p.Title)
			for _, q := range p.Targets {
				all = append(all, query{d.Title + ": " + p.Title, q.Expr})
			}
		}
	}
	return all
}
