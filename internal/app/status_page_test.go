package app_test

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/concord-home/concord/internal/app"
	"github.com/concord-home/concord/internal/trial"
	"github.com/concord-home/concord/internal/web/page/pagetest"
)

// The status page of a running Concord says what happened to it: conflicts that
// are certain, a record in quarantine, a gap, and a home that goes away.
func TestStatusPageTellsOfRealConflicts(t *testing.T) {
	t.Parallel()
	c := start(t, trial.Options{Config: func(o *app.Config) { o.HealthDegraded, o.HealthMinimum = 0.01, 1 }})
	r := newRival(t, c)
	const entity = "sensor.contested"
	c.Home.Set(entity, "0", nil)
	written := func(state string) {
		require.Eventually(t, func() bool {
			var now string
			err := r.look.QueryRow(t.Context(), `select state from entity_state where entity_id = $1`, entity).Scan(&now)
			return err == nil && now == state
		}, 20*time.Second, 2*time.Millisecond)
	}
	written("0")
	for n := 1; n <= 5; n++ {
		r.holds(t, `update entity_state set state = state where entity_id = '`+entity+`'`, `concord`, func() { c.Home.Set(entity, fmt.Sprint(n), nil) })
		written(fmt.Sprint(n))
	}
	_, err := r.Exec(t.Context(), `insert into gap (home_id, from_time, to_time, reason) select home_id, now() - interval '1 hour', now(), 'test' from home`)
	require.NoError(t, err)
	seen := conflictHealth(t, c.HTTP, c)
	require.GreaterOrEqual(t, seen.Metrics.Failures, 5)

	for name, screen := range map[string]pagetest.Screen{
		"desktop": pagetest.Desktop, "desktop-dark": pagetest.Desktop.InDark(), "phone": pagetest.Phone, "phone-dark": pagetest.Phone.InDark(),
	} {
		b := pagetest.NewBrowser(t, screen)
		b.Login(t, c.URL, "admin", trial.Password)
		b.Open(t, c.URL+"/status", ".day svg")
		cell := func(row int) string {
			return fmt.Sprintf(`document.querySelectorAll(".part .figures tbody tr")[%d].querySelector("td").innerText`, row)
		}
		b.Until(t, fmt.Sprintf(`%s === "%d"`, cell(2), seen.Metrics.Failures)) // each was cured by one more attempt
		require.Equal(t, "0", pagetest.Eval[string](t, b, cell(3)), "nothing is lost")
		b.Until(t, `document.querySelector(".part .value").innerText === "More than usual"`)
		b.Until(t, `document.querySelector("[data-work=state_changed]")`)
		b.Until(t, `document.querySelector(".facts").innerText.includes("Gaps in the history\n1\n")`) // the server is asked every 15 s
		require.Empty(t, b.Complaints())
		shoot(t, b, name)
		whole(t, b, name)
	}

	b := pagetest.NewBrowser(t, pagetest.Desktop)
	b.Login(t, c.URL, "admin", trial.Password)
	b.Open(t, c.URL+"/status", ".verdict:not(.bad)")
	c.HomeOff()
	b.Until(t, `document.querySelector(".verdict.bad") && document.querySelector(".fact .bad")`)
	shoot(t, b, "home-off")
	resp, err := http.Get(c.URL + "/health/live")
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
}

// whole shoots all of the page, what lies below the window too.
func whole(t *testing.T, b *pagetest.Browser, name string) {
	t.Helper()
	pagetest.Eval[any](t, b, `document.querySelector("main").scrollTo(0, 1e6)`)
	shoot(t, b, name+"-end")
}
