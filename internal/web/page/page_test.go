package page_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/concord-home/concord/internal/web/page/pagetest"
)

func open(t *testing.T, s pagetest.Screen, path, selector string) (*pagetest.House, *pagetest.Browser) {
	t.Helper()
	b := pagetest.NewBrowser(t, s)
	h := pagetest.Start(t)
	b.Open(t, h.URL+path, selector)
	return h, b
}

func TestOverviewShowsFloorsAndAreas(t *testing.T) {
	_, b := open(t, pagetest.Desktop, "/", ".area")
	require.Equal(t, []string{"Ground floor", "Upper floor", "Outside and cellar"}, pagetest.Eval[[]string](t, b, `[...document.querySelectorAll("main h2")].map(x => x.textContent.trim())`))
	require.Equal(t, 10, pagetest.Eval[int](t, b, `document.querySelectorAll(".area").length`))
	require.Equal(t, "21.4\u00a0°C", pagetest.Eval[string](t, b, `document.querySelector("[data-area=living_room] .temp").textContent`))
	require.Empty(t, b.Complaints())
}

func TestAreaShowsEveryEntity(t *testing.T) {
	_, b := open(t, pagetest.Desktop, "/area/technical", ".row")
	b.Until(t, `document.querySelector("[data-entity='frobnicator.unknown'] .val").textContent === "Mystery state"`)
	require.Equal(t, 17, pagetest.Eval[int](t, b, `document.querySelectorAll(".row").length`))
	require.Empty(t, b.Complaints())
}

func TestLightSwitchesBothWays(t *testing.T) {
	h, b := open(t, pagetest.Desktop, "/area/living_room", "[data-entity='light.reading'] button.ic")
	b.Do(t, pagetest.Click("[data-entity='light.reading'] button.ic"))
	b.Until(t, `document.querySelector("[data-entity='light.reading']").dataset.state === "on"`)
	require.Equal(t, "on", h.State("light.reading"))

	h.SetState("light.reading", "off", map[string]any{})
	b.Until(t, `document.querySelector("[data-entity='light.reading'] .s").textContent === "Off"`)
	require.Empty(t, b.Complaints())
}

func TestOneTapTurnsOffTheArea(t *testing.T) {
	h, b := open(t, pagetest.Phone, "/", "[data-area=living_room] .chip-btn")
	b.Do(t, pagetest.Click("[data-area=living_room] .chip-btn"))
	b.Until(t, `!document.querySelector("[data-area=living_room] .chip-btn")`)
	require.Equal(t, "off", h.State("light.living_ceiling"))
	require.Equal(t, "off", h.State("light.floor_lamp"))
	require.Equal(t, "/", pagetest.Eval[string](t, b, "location.pathname"), "the tap is not a tap on the card")
}

func TestRefusedActionSaysWhy(t *testing.T) {
	h, b := open(t, pagetest.Desktop, "/area/living_room", "[data-entity='light.reading'] button.ic")
	h.Refuse("The lamp is not plugged in")
	b.Do(t, pagetest.Click("[data-entity='light.reading'] button.ic"), pagetest.Visible(".failed"))
	require.Equal(t, "The home says: The lamp is not plugged in", pagetest.Eval[string](t, b, `document.querySelector(".failed").textContent.trim()`))
}

func TestActionWithoutEffectIsSaid(t *testing.T) {
	h, b := open(t, pagetest.Desktop, "/area/living_room", "[data-entity='light.reading'] button.ic")
	h.Deafen(true)
	b.Do(t, pagetest.Click("[data-entity='light.reading'] button.ic"), pagetest.Visible("[data-entity='light.reading'] .waiting"), pagetest.Visible("[data-entity='light.reading'] .failed"))
	require.Contains(t, pagetest.Eval[string](t, b, `document.querySelector(".failed").textContent`), "did not change")
	require.Equal(t, "off", pagetest.Eval[string](t, b, `document.querySelector("[data-entity='light.reading']").dataset.state`))
}

func TestBannerTellsWhatIsLost(t *testing.T) {
	h, b := open(t, pagetest.Desktop, "/area/living_room", ".row")
	banner := func(text string) {
		t.Helper()
		b.Until(t, `(document.querySelector(".banner")?.textContent ?? "").includes("`+text+`")`)
	}
	h.SetStatus(map[string]any{"link": "disconnected", "data_age_ms": 130_000, "error": "connection refused"})
	banner("The home cannot be reached. Last word from it: 2 min. ago. connection refused")
	h.SetStatus(map[string]any{"link": "connected", "database": map[string]any{"up": false, "since": time.Now().UnixMilli()}})
	banner("The database has been stopped")
	h.SetStatus(map[string]any{"database": map[string]any{"up": true}})
	b.Until(t, `!document.querySelector(".banner")`)

	h.SetClosed(true)
	h.DropLinks()
	banner("No connection to Concord")
	h.SetState("light.reading", "on", map[string]any{})
	h.SetClosed(false)
	b.Until(t, `!document.querySelector(".banner") && document.querySelector("[data-entity='light.reading']").dataset.state === "on"`)
}

func TestKeyboardIsEnough(t *testing.T) {
	h, b := open(t, pagetest.Desktop, "/area/living_room", ".row")
	press := func(key string) { t.Helper(); b.Do(t, pagetest.Press(key)) }
	press("/")
	b.Until(t, `document.activeElement?.matches("#palette input")`)
	for _, letter := range "reading" {
		press(string(letter))
	}
	b.Do(t, pagetest.Visible(".found [data-entity='light.reading']"))
	press(pagetest.Escape)
	b.Until(t, `!document.querySelector("#palette").open`)

	pagetest.Eval[any](t, b, `document.querySelector("[data-entity='input_boolean.guests'] .switch").focus()`)
	press(" ")
	b.Until(t, `document.querySelector("[data-entity='input_boolean.guests']").dataset.state === "on"`)
	require.Equal(t, "on", h.State("input_boolean.guests"))

	pagetest.Eval[any](t, b, `document.querySelector("[data-entity='light.floor_lamp'] .slider").focus()`)
	press(pagetest.ArrowRight)
	b.Until(t, `document.querySelector("[data-entity='light.floor_lamp'] .s").textContent === "81%"`)

	pagetest.Eval[any](t, b, `document.querySelector("[data-entity='climate.living'] .nm").focus()`)
	press(pagetest.Enter)
	b.Until(t, `document.querySelector("#dialog").open && document.querySelector("#dialog .modes")`)
	press(pagetest.Escape)
	b.Until(t, `!document.querySelector("#dialog").open && document.activeElement?.matches("[data-open='climate.living']")`)
	require.Empty(t, b.Complaints())
}

func TestLoginFormLogsIn(t *testing.T) {
	b := pagetest.NewBrowser(t, pagetest.Phone)
	h := pagetest.Start(t)
	b.Open(t, h.URL+"/login?next=/.//evil.example/", "form.login") // the path of this address is //evil.example/
	b.Do(t, pagetest.Type("[name=login]", "admin"), pagetest.Type("[name=password]", "wrong\r"), pagetest.Visible(".failed"))
	pagetest.Eval[any](t, b, `document.querySelector("[name=password]").value = ""`)
	b.Do(t, pagetest.Type("[name=password]", "secret\r"), pagetest.Visible(".area"))
	require.Equal(t, h.URL+"/", pagetest.Eval[string](t, b, "location.href"), "an address elsewhere is not followed")
}

func TestEndedSessionLeadsToLogin(t *testing.T) {
	h, b := open(t, pagetest.Desktop, "/area/kitchen", ".row")
	h.Expire()
	b.Do(t, pagetest.Visible("form.login"))
	require.Equal(t, "?next=%2Farea%2Fkitchen", pagetest.Eval[string](t, b, "location.search"))
}

func TestStaysLight(t *testing.T) {
	_, b := open(t, pagetest.Desktop, "/area/living_room", ".spark")
	bytes, requests := b.Traffic()
	require.LessOrEqual(t, bytes, int64(200_000))
	require.LessOrEqual(t, requests, 30)
}

func TestOnlyWhatIsShownIsFetched(t *testing.T) {
	h, b := open(t, pagetest.Desktop, "/area/living_room", ".row")
	require.NotContains(t, h.Watched(), "light.bed")
	require.Contains(t, h.Watched(), "light.floor_lamp")
	b.Do(t, pagetest.Click("#side a[href='/area/bedroom']"), pagetest.Visible("[data-entity='light.bed']"))
	b.Until(t, `document.querySelector("h1").textContent === "Bedroom"`)
	require.Eventually(t, func() bool { return !h.Watched()["light.floor_lamp"] && h.Watched()["light.bed"] }, 5*time.Second, 10*time.Millisecond)
}

func TestHistoryTellsOfItsHoles(t *testing.T) {
	_, b := open(t, pagetest.Desktop, "/entity/lock.front_door", "#dialog .bars")
	require.Equal(t, 2, pagetest.Eval[int](t, b, `document.querySelectorAll("#dialog .bars .hole").length`), "nobody knows, or not yet")
	told := pagetest.Eval[[]string](t, b, `[...document.querySelectorAll("#dialog .told")].map(e => e.innerText)`)
	require.Len(t, told, 3)
	require.Contains(t, told[0], "Nobody knows what happened: ")
	require.Contains(t, told[1], "The home is being asked: ")
	require.Contains(t, told[2], "Filled in from the home's own history: ")
	require.Empty(t, b.Complaints())
}
