package main

import (
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/term"
)

// isTerminal tells whether a person may be watching.
func isTerminal(f *os.File) bool { return term.IsTerminal(int(f.Fd())) }

// columns is the width of a terminal, 0 when the file is none.
func columns(f *os.File) int {
	width, _, err := term.GetSize(int(f.Fd()))
	if err != nil {
		return 0
	}
	return width
}

// progressBar draws on standard error while a long input is read; nil when nobody watches.
func progressBar() func(read, total int64) {
	if !isTerminal(os.Stderr) {
		return nil
	}
	started, last := time.Now(), time.Time{}
	return func(read, total int64) {
		now := time.Now()
		if now.Sub(last) < 100*time.Millisecond || now.Sub(started) < 300*time.Millisecond {
			return
		}
		last = now
		fmt.Fprint(os.Stderr, "\r"+progressLine(read, total, now.Sub(started), columns(os.Stderr))+"\033[K")
	}
}

// progressLine is a bar of what is read, the rate, and the time that is left; without a known total only the first and
// the rate.
func progressLine(read, total int64, took time.Duration, width int) string {
	rate := float64(read) / 1e6 / took.Seconds()
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

func clearProgress() {
	if isTerminal(os.Stderr) {
		fmt.Fprint(os.Stderr, "\r\033[K")
	}
}
