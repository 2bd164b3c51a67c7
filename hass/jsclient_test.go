package hass_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/concord-home/concord/hass/simhome"
)

// The official JavaScript client works against the server half.
func TestOfficialJavaScriptClient(t *testing.T) {
	if testing.Short() {
		t.Skip("installs an npm package; not in -short")
	}
	t.Parallel()
	for _, program := range []string{"node", "npm"} {
		if _, err := exec.LookPath(program); err != nil && os.Getenv("CI") == "" {
			t.Skipf("%s is not installed; install Node.js 20 or later", program)
		}
	}
	dir := installClient(t)
	w := link(t, simhome.Options{Rate: 50}, nil)
	w.run(t)
	<-w.up
	const light = "light.shelf_light_strip"
	cmd := exec.CommandContext(t.Context(), "node", filepath.Join(dir, "client.mjs"), w.url, w.home.Token(), light)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	var saw struct {
		OK               bool
		Version          string
		States, Entities int
		State            string
		Brightness       int
		Same             bool
	}
	require.NoError(t, json.Unmarshal(out, &saw), "%s", out)
	require.True(t, saw.OK)
	require.Equal(t, "2025.4.4", saw.Version)
	require.Equal(t, "on", saw.State)
	require.Equal(t, 77, saw.Brightness)
	require.Equal(t, len(w.home.States()), saw.States)
	require.Equal(t, saw.States, saw.Entities)
	require.Contains(t, string(w.home.State(light).Attributes), `"brightness":77`)
}

// installClient installs what testdata/jsclient locks.
func installClient(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"package.json", "package-lock.json", "client.mjs"} {
		b, err := os.ReadFile(filepath.Join("testdata", "jsclient", name))
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), b, 0o600))
	}
	cmd := exec.CommandContext(t.Context(), "npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts")
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	return dir
}
