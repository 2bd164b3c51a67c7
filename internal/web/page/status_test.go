package page_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/concord-home/concord/internal/web/page/pagetest"
)

func TestStatusTellsOfTheDay(t *testing.T) {
	h, b := open(t, pagetest.Desktop, "/status", ".day svg")
	text := func(selector string) string {
		return pagetest.Eval[string](t, b, `document.querySelector("`+selector+`").innerText`)
	}
	require.Equal(t, "Everything works.", text(".verdict"))
	require.Contains(t, text(".part .value"), "More than usual")
	require.Equal(t, 49, pagetest.Eval[int](t, b, `document.querySelectorAll(".day g").length`), "half an hour a bar")
	require.Contains(t, text("[data-work=state_changed]"), "88,120")
	require.Contains(t, text(".facts"), "PostgreSQL 15.4")
	require.Contains(t, text(".facts"), "Filled in\n1,234\n")
	require.Contains(t, text(".facts"), "Still being asked for: 2")
	require.Empty(t, pagetest.Eval[[]string](t, b, `[...document.querySelectorAll(".part tbody th")].filter(e => e.closest(".part").querySelector(".day") && !e.querySelector("small")?.innerText).map(e => e.innerText)`),
		"every word is explained")

	h.SetStatus(map[string]any{"link": "disconnected", "error": "connection refused"})
	b.Until(t, `document.querySelector(".verdict.bad") && document.querySelectorAll(".fact .bad").length === 1`)
	require.Empty(t, b.Complaints())
}

func TestStatusIsLoadedOnlyWhenLookedAt(t *testing.T) {
	_, b := open(t, pagetest.Desktop, "/", ".area")
	const loaded = `performance.getEntriesByType("resource").some(r => /status\.(js|css)/.test(r.name))`
	require.False(t, pagetest.Eval[bool](t, b, loaded))
	b.Do(t, pagetest.Click("#side a[href='/status']"), pagetest.Visible(".verdict"))
	require.True(t, pagetest.Eval[bool](t, b, loaded))
}
