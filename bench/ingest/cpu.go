package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/concord-home/concord/bench/internal/line"
)

// ticksPerSecond is the unit of processor times in /proc on Linux.
const ticksPerSecond = 100

// cpu is the processor time used so far: by this process, and by PostgreSQL.
// Beside other programs it tells more than the clock on the wall.
type cpu struct{ own, database time.Duration }

func (s *system) cpu() cpu {
	return cpu{own: line.ProcessorTime(), database: groupTime(s.Server.PID())}
}

// groupTime adds up the times of the processes that a postmaster started, the
// ended ones too.
func groupTime(leader int) time.Duration {
	files, _ := filepath.Glob("/proc/[0-9]*/stat") // the pattern is valid
	ticks := 0
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			continue
		}
		_, rest, _ := strings.Cut(string(b), ") ")
		fields := strings.Fields(rest) // from the process state on
		if len(fields) < 15 {
			continue
		}
		if own := f == fmt.Sprintf("/proc/%d/stat", leader); !own && fields[1] != strconv.Itoa(leader) {
			continue
		}
		last := 13 // user and system time; of the leader also those of its ended children
		if f == fmt.Sprintf("/proc/%d/stat", leader) {
			last = 15
		}
		for _, v := range fields[11:last] {
			n, _ := strconv.Atoi(v) // a number by definition
			ticks += n
		}
	}
	return time.Duration(ticks) * time.Second / ticksPerSecond
}
