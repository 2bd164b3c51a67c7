package doctor

import (
	"fmt"
	"strings"
	"time"
)

// ProgressLine is a bar of what is read, the rate, and the time that is left, not wider than width where that is
// possible; without a known total only what is read and the rate.
func ProgressLine(read, total int64, took time.Duration, width int) string {
	rate := float64(read) / 1e6 / max(took.Seconds(), 0.001)
	if total <= 0 {
		return fmt.Sprintf("%.1f MB  %.0f MB/s", float64(read)/1e6, rate)
	}
	read = min(read, total)
	left := time.Duration(float64(took) * float64(total-read) / float64(max(read, 1))).Round(time.Second)
	text := fmt.Sprintf(" %3d%%  %.0f MB/s  %v ", 100*read/total, rate, left)
	bar := int64(max(10, min(40, width-len(text)-3)))
	done := bar * read / total
	return "[" + strings.Repeat("#", int(done)) + strings.Repeat(".", int(bar-done)) + "]" + text
}
