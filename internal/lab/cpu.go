package lab

import (
	"bytes"
	"context"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

// cpuSeconds is the processor time of this process.
func cpuSeconds() float64 {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()).Seconds()
}

// serverCPU adds up the processor time of the pool's backends, which were started for this cell; 0 when they cannot be
// seen from here.
func (r *run) serverCPU(ctx context.Context) float64 {
	rows, err := r.pool.Query(ctx, `select pid from pg_stat_activity where application_name = $1 and datname = current_database()`,
		r.pool.Config().ConnConfig.RuntimeParams["application_name"])
	if err != nil {
		return 0
	}
	pids, err := pgx.CollectRows(rows, pgx.RowTo[int])
	if err != nil {
		return 0
	}
	sum := 0.0
	for _, pid := range pids {
		sum += processCPU(pid)
	}
	return sum
}

// ticksPerSecond is USER_HZ, the unit of /proc on every Linux architecture that Go runs on.
const ticksPerSecond = 100

// processCPU reads the processor time of a PostgreSQL process from /proc; 0 when there is none of that number, or when
// it is another program's.
func processCPU(pid int) float64 {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0
	}
	name, rest, found := bytes.Cut(stat, []byte(") "))
	if !found || !bytes.Contains(name, []byte("(postgres")) {
		return 0
	}
	fields := strings.Fields(string(rest))
	if len(fields) < 13 {
		return 0
	}
	user, _ := strconv.ParseFloat(fields[11], 64)
	system, _ := strconv.ParseFloat(fields[12], 64)
	return (user + system) / ticksPerSecond
}
