package page_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/concord-home/concord/internal/web/page/pagetest"
)

var addresses = []struct{ path, ready string }{
	{"/", ".area"},
	{"/area/living_room", ".row .slider"},
	{"/area/kitchen", ".row"},
	{"/area/bathroom", ".row"},
	{"/area/technical", ".row"},
	{"/area/bedroom", ".row"},
	{"/entity/light.floor_lamp", ".panel .slider"},
	{"/entity/climate.living", ".modes"},
	{"/status", ".part tbody td"},
	{"/login", ".login"},
}

// everyAddress runs the check on each address, in English and in Russian, whose
// words are the longest.
func everyAddress(t *testing.T, s pagetest.Screen, check func(t *testing.T, b *pagetest.Browser, name string)) {
	t.Helper()
	b := pagetest.NewBrowser(t, s)
	h := pagetest.Start(t)
	for _, lang := range []string{"en", "ru"} {
		b.Open(t, h.URL+"/login", ".login")
		pagetest.Eval[any](t, b, `localStorage.setItem("lang", "`+lang+`")`)
		for _, a := range addresses {
			b.Open(t, h.URL+a.path, a.ready)
			check(t, b, lang+" "+a.path)
		}
	}
	require.Empty(t, b.Complaints())
}

func TestNothingIsWiderThanANarrowPhone(t *testing.T) {
	everyAddress(t, pagetest.Narrow, func(t *testing.T, b *pagetest.Browser, name string) {
		wide := pagetest.Eval[[]string](t, b, `[...document.querySelectorAll("main *, dialog[open] *, #tabs *, h1")]
			.filter(e => !e.closest(".sr, svg, .u-wrap") && e.getClientRects().length && (e.getBoundingClientRect().right > innerWidth + 0.5 || e.getBoundingClientRect().left < -0.5))
			.map(e => e.tagName + "." + e.className + " " + e.textContent.trim().slice(0, 40) + " " + e.getBoundingClientRect().right)`)
		require.Empty(t, wide, name)
		require.False(t, pagetest.Eval[bool](t, b, `document.scrollingElement.scrollWidth > innerWidth || document.querySelector("main").scrollWidth > document.querySelector("main").clientWidth`), name)
	})
}

func TestFingersFindTheirTargets(t *testing.T) {
	everyAddress(t, pagetest.Phone, func(t *testing.T, b *pagetest.Browser, name string) {
		small := pagetest.Eval[[]string](t, b, `[...document.querySelectorAll("button, select, input, summary, a.item, a.back, a.batt")]
			.filter(e => e.getClientRects().length && !e.closest(".skip"))
			.map(e => [e, e.getBoundingClientRect()]).filter(([, r]) => r.width < 43.5 || r.height < 43.5)
			.map(([e, r]) => e.tagName + "." + e.className + " " + e.textContent.trim().slice(0, 30) + " " + Math.round(r.width) + "×" + Math.round(r.height))`)
		require.Empty(t, small, name)
	})
}

// contrast is a script that lists every text below 4.5:1 and every icon below
// 3:1 against the colour that it stands on, as computed by the browser.
const contrast = `(() => {
	const canvas = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
	const rgba = c => { canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = c; canvas.fillRect(0, 0, 1, 1); const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data; return [r, g, b, a / 255]; };
	const over = ([r, g, b, a], [R, G, B]) => [r * a + R * (1 - a), g * a + G * (1 - a), b * a + B * (1 - a), 1];
	const ground = e => { const layers = []; for (; e; e = e.parentElement) { const c = rgba(getComputedStyle(e).backgroundColor); if (c[3] > 0) layers.push(c); if (c[3] === 1) break; }
		return layers.reverse().reduce((below, c) => over(c, below), [255, 255, 255, 1]); };
	const lum = c => { const [r, g, b] = c.map(v => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
	const ratio = (a, b) => { const [x, y] = [lum(a), lum(b)].sort((p, q) => q - p); return (x + 0.05) / (y + 0.05); };
	const bad = [];
	const look = (e, least, what) => { const g = ground(e); const s = getComputedStyle(e); const r = ratio(over(rgba(s.color), g), g); if (r < least) bad.push(what + " " + r.toFixed(2) + " " + e.className + " " + e.textContent.trim().slice(0, 30)); };
	for (const e of document.querySelectorAll("body *")) {
		if (!e.getClientRects().length || e.closest(":disabled, .sr, .skip, .u-wrap")) continue;
		if (e instanceof SVGElement) { if (e.matches("svg.i")) look(e.parentElement, 3, "icon " + e.parentElement.parentElement.className); continue; }
		if ([...e.childNodes].some(n => n.nodeType === 3 && n.data.trim())) look(e, 4.5, "text");
	}
	for (const e of document.querySelectorAll(".switch .knob")) { const g = ground(e.closest(".card, dialog, main")); const c = rgba(getComputedStyle(e.parentElement, "::before").borderColor); const r = ratio(c, g); if (r < 3) bad.push("switch " + r.toFixed(2)); }
	return bad;
})()`

func TestContrastInBothThemes(t *testing.T) {
	for _, s := range []pagetest.Screen{pagetest.Desktop, pagetest.Desktop.InDark()} {
		everyAddress(t, s, func(t *testing.T, b *pagetest.Browser, name string) {
			require.Empty(t, pagetest.Eval[[]string](t, b, contrast), name)
		})
	}
}

func TestControlsHaveNames(t *testing.T) {
	everyAddress(t, pagetest.Desktop, func(t *testing.T, b *pagetest.Browser, name string) {
		nameless := pagetest.Eval[[]string](t, b, `[...document.querySelectorAll("button, a[href], input, select")]
			.filter(e => !(e.getAttribute("aria-label") || e.textContent.trim() || e.labels?.length)).map(e => e.outerHTML.slice(0, 80))`)
		require.Empty(t, nameless, name)
	})
}

func TestNothingMovesWhenStatesCome(t *testing.T) {
	b := pagetest.NewBrowser(t, pagetest.Desktop)
	h := pagetest.Start(t)
	b.Open(t, h.URL+"/", ".area")
	pagetest.Eval[any](t, b, `(window.shift = 0, new PerformanceObserver(l => l.getEntries().forEach(e => window.shift += e.hadRecentInput ? 0 : e.value)).observe({type: "layout-shift", buffered: true}))`)
	h.SetState("binary_sensor.kitchen_leak", "on", map[string]any{})
	b.Until(t, `document.querySelector("[data-area=kitchen].alarm")`)
	require.Less(t, pagetest.Eval[float64](t, b, "window.shift"), 0.1)
}
