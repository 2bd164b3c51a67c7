package page_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/concord-home/concord/internal/web/page"
)

func words(t *testing.T, lang string) map[string]any {
	t.Helper()
	body, err := os.ReadFile("i18n/" + lang + ".json")
	require.NoError(t, err)
	var all map[string]any
	require.NoError(t, json.Unmarshal(body, &all))
	return all
}

func scripts(t *testing.T) string {
	t.Helper()
	files, err := filepath.Glob("static/*.js")
	require.NoError(t, err)
	var all strings.Builder
	for _, f := range files {
		body, err := os.ReadFile(f)
		require.NoError(t, err)
		all.Write(body)
	}
	return all.String()
}

func TestEveryWordIsInEveryLanguage(t *testing.T) {
	t.Parallel()
	english := words(t, "en")
	for _, lang := range page.Languages {
		have := words(t, lang)
		require.Len(t, have, len(english), lang)
		for key, word := range english {
			require.Contains(t, have, key, lang)
			require.IsType(t, word, have[key], "%s: %s", lang, key)
			require.NotEmpty(t, have[key], "%s: %s", lang, key)
		}
	}
}

func TestEveryWordOfTheScriptsIsKnown(t *testing.T) {
	t.Parallel()
	english := words(t, "en")
	for _, m := range regexp.MustCompile(`\bt\("([a-z_]+)"[,)]`).FindAllStringSubmatch(scripts(t), -1) {
		require.Contains(t, english, m[1])
	}
	for _, prefix := range []string{"link_connected", "link_connecting", "link_auth_failed", "link_disconnected", "theme_auto", "theme_light", "theme_dark", "why_hidden", "why_disabled", "error_offline", "error_no_effect", "error_timeout", "error_unauthorized", "error_home_unreachable",
		"conflicts_healthy", "conflicts_degraded", "conflicts_unhealthy", "writes_note", "collided_note", "repeats_note", "lost_note", "history_lost", "history_asked", "history_filled", "verdict_good", "verdict_bad",
		"work_get_areas", "work_background_sync", "work_state_changed", "work_sessions", "work_users", "work_homes", "work_history", "work_settings", "work_ledger", "work_other"} {
		require.Contains(t, english, prefix)
	}
}

func TestEveryIconOfTheScriptsIsKnown(t *testing.T) {
	t.Parallel()
	core, err := os.ReadFile("icons/core.txt")
	require.NoError(t, err)
	known := strings.Fields(string(core))
	require.Len(t, page.Icons(known), len(known))
	for _, m := range regexp.MustCompile(`\b(?:icon|iconButton|chip|textButton)\("([a-z0-9-]+)"`).FindAllStringSubmatch(scripts(t), -1) {
		require.True(t, slices.Contains(known, m[1]), "%s is not in icons/core.txt", m[1])
	}
}
