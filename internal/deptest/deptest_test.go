// Package deptest keeps the layers of Concord apart.
package deptest

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const root = "github.com/concord-home/concord"

// rule says what packages of ours the packages beneath one path may import,
// and why no others.
type rule struct {
	path  string
	allow []string // paths below root; "" is the root package itself; own subpackages are always allowed
	why   string
}

var rules = []rule{
	{"", nil, "the root package is the vocabulary: it knows no technology and no other package"},
	{"pgretry", nil, "its users inherit the standard library and pgx, nothing of ours"},
	{"hass", nil, "its users inherit no part of the server"},
	{"internal/pglog", nil, "a library: log bytes in, records out"},
	{"internal/spans", nil, "a library: it knows contexts and texts, nothing of ours"},
	{"internal/pgembed", []string{""}, "an adapter sees the root and libraries, never another adapter"},
	{"internal/postgres", []string{"", "pgretry", "internal/spans"}, "an adapter sees the root and libraries, never another adapter"},
	{"internal/bus", []string{""}, "an adapter sees the root and libraries, never another adapter"},
	{"internal/web", []string{"", "hass", "internal/spans"}, "an adapter sees the root and libraries, never another adapter"},
	{"internal/link", []string{"", "hass", "internal/spans"}, "a capability works on root interfaces, so that it can be tested without the technology"},
	{"internal/live", []string{""}, "a capability works on root interfaces"},
	{"internal/ingest", []string{"", "hass", "internal/spans"}, "a capability works on root interfaces, so that it can be tested without the technology"},
	{"internal/ledger", []string{""}, "a capability works on root interfaces"},
	{"internal/notify", []string{""}, "a capability works on root interfaces"},
	{"internal/lab", []string{"", "pgretry"}, "it makes trouble for any PostgreSQL, so it needs none of the server"},
	{"internal/doctor", []string{"", "internal/pglog"}, "it examines other programs, so it needs none of the server"},
}

type listed struct {
	ImportPath string
	Imports    []string
}

func TestImports(t *testing.T) {
	t.Parallel()
	for _, p := range packages(t) {
		path := strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, root), "/")
		r := ruleOf(path)
		if r == nil {
			continue
		}
		for _, imported := range p.Imports {
			ours, ok := below(imported)
			if ok && !allowed(r, ours) {
				t.Errorf("%s imports %s: %s", p.ImportPath, imported, r.why)
			}
		}
	}
}

// The root package must not even know other people's code.
func TestRootImportsTheStandardLibraryOnly(t *testing.T) {
	t.Parallel()
	for _, p := range packages(t) {
		if p.ImportPath != root {
			continue
		}
		for _, imported := range p.Imports {
			first, _, _ := strings.Cut(imported, "/")
			require.NotContains(t, first, ".", "the root package imports %s", imported)
		}
	}
}

func TestEveryRuleMeansAPackage(t *testing.T) {
	t.Parallel()
	all := packages(t)
	for _, r := range rules {
		require.True(t, slices.ContainsFunc(all, func(p listed) bool {
			return strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, root), "/") == r.path
		}) || r.path == "pgretry" || r.path == "hass", "no package for the rule about %q", r.path)
	}
}

func packages(t *testing.T) []listed {
	t.Helper()
	var all []listed
	for _, dir := range []string{"../..", "../../hass", "../../pgretry"} {
		cmd := exec.Command("go", "list", "-json=ImportPath,Imports", "./...")
		cmd.Dir = dir
		out, err := cmd.Output()
		require.NoError(t, err)
		decoder := json.NewDecoder(strings.NewReader(string(out)))
		for {
			var p listed
			if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
				break
			}
			require.NoError(t, err)
			all = append(all, p)
		}
	}
	return all
}

// ruleOf returns the rule with the longest path that holds for a package.
func ruleOf(path string) *rule {
	var best *rule
	for i := range rules {
		r := &rules[i]
		if (path == r.path || r.path != "" && strings.HasPrefix(path, r.path+"/")) && (best == nil || len(r.path) > len(best.path)) {
			best = r
		}
	}
	return best
}

func below(imported string) (string, bool) {
	if imported == root {
		return "", true
	}
	return strings.CutPrefix(imported, root+"/")
}

func allowed(r *rule, path string) bool {
	if r.path != "" && (path == r.path || strings.HasPrefix(path, r.path+"/")) {
		return true
	}
	return slices.ContainsFunc(r.allow, func(a string) bool {
		return path == a || a != "" && strings.HasPrefix(path, a+"/")
	})
}
