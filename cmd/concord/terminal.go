package main

import (
	"fmt"
	"os"
	"time"

	"golang.org/x/term"

	"github.com/concord-home/concord/internal/doctor"
)

// isTerminal tells whether a person may be watching.
func isTerminal(f *os.File) bool { return term.IsTerminal(int(f.Fd())) }

// terminalSize is the columns and lines of a terminal, 0 when the file is none.
func terminalSize(f *os.File) (width, height int) {
	width, height, err := term.GetSize(int(f.Fd()))
	if err != nil {
		return 0, 0
	}
	return width, height
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
		width, _ := terminalSize(os.Stderr)
		fmt.Fprint(os.Stderr, "\r"+doctor.ProgressLine(read, total, now.Sub(started), width)+"\033[K")
	}
}

func clearProgress() {
	if isTerminal(os.Stderr) {
		fmt.Fprint(os.Stderr, "\r\033[K")
	}
}
