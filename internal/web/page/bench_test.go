package page_test

import (
	"encoding/json"
	"fmt"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/concord-home/concord/internal/web/page/pagetest"
)

// BenchmarkFirstCard opens an area with a cold cache and a processor slowed down
// four times, and reports the time from the start of the navigation to the first
// card on the screen. PAGE_URL measures another server (with its address of an
// area); without it the test's house is measured.
func BenchmarkFirstCard(b *testing.B) {
	url := os.Getenv("PAGE_URL")
	if url == "" {
		url = pagetest.Start(b).URL + "/area/living_room"
	}
	var total float64
	for range b.N {
		total += firstCard(b, url)
	}
	b.ReportMetric(total/float64(b.N), "ms/first-card")
}

func firstCard(b *testing.B, url string) float64 {
	b.Helper()
	browser, stop, err := pagetest.OpenBrowser(b.Context(), pagetest.Desktop)
	defer stop()
	require.NoError(b, err)
	require.NoError(b, browser.Slow(4))
	browser.Preload(b, pagetest.FirstCard)
	browser.Open(b, url, ".row")
	browser.Until(b, "window.firstCard")
	bytes, requests := browser.Traffic()
	result := map[string]any{"first_card_ms": pagetest.Eval[float64](b, browser, "window.firstCard"), "bytes": bytes, "requests": requests}
	line, err := json.Marshal(result)
	require.NoError(b, err)
	fmt.Println(string(line))
	return result["first_card_ms"].(float64)
}
