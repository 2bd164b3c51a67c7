package doctor

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// watched are the checks that a monitor asks; the others change slowly, or cost more.
var watched = []string{"chain_heads", "prepared", "in_transaction", "rates", "hot_tables"}

// WatchDatabase shows a server again and again until the context ends, over one connection that is made anew when it
// breaks.
func WatchDatabase(ctx context.Context, url string, every time.Duration, show func(*View)) error {
	d := DatabaseSource{URL: url}
	defer d.Close()
	w := watch{source: "database"}
	return w.run(ctx, every, show, func(v *View) error {
		report, err := d.look(ctx)
		if err != nil {
			return err
		}
		v.Source = "PostgreSQL " + report.Version + ", " + report.Name
		fillBlockers(v, report)
		fillRates(v, report, &w.window)
		return nil
	})
}

// DatabaseSource asks a server for those who block others, beside a log.
type DatabaseSource struct {
	URL  string
	conn *pgx.Conn
}

// Blockers adds to a view whom the server shows to block others, or why it could not be asked.
func (d *DatabaseSource) Blockers(ctx context.Context, v *View) {
	report, err := d.look(ctx)
	if err != nil {
		v.Problem = err.Error()
		return
	}
	fillBlockers(v, report)
}

// Close ends the connection.
func (d *DatabaseSource) Close() {
	if d.conn != nil {
		_ = d.conn.Close(context.Background())
		d.conn = nil
	}
}

func (d *DatabaseSource) look(ctx context.Context) (*DatabaseReport, error) {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	if d.conn == nil {
		conn, err := connect(ctx, d.URL)
		if err != nil {
			return nil, err
		}
		d.conn = conn
	}
	report, err := askAll(ctx, d.conn, watched)
	if err == nil && len(report.Tables) == 0 && d.conn.IsClosed() || err != nil {
		d.Close()
	}
	return report, err
}

// lookTimeout bounds one look, connecting included.
const lookTimeout = 15 * time.Second

func fillBlockers(v *View, report *DatabaseReport) {
	for _, row := range report.rows("prepared") {
		if number(row["waiters"]) > 0 {
			v.Blockers = append(v.Blockers, Blocker{Who: row["gid"], Prepared: true, Application: row["owner"], Waiters: row["waiters"], For: ageText(row["seconds"])})
		}
	}
	for _, row := range report.rows("chain_heads") {
		if row["head"] != "0" {
			v.Blockers = append(v.Blockers, Blocker{
				Who: row["head"], Application: row["application"], Waiters: row["waiters"], State: row["state"], For: ageText(row["seconds"]), Query: row["last_query"],
			})
		}
	}
	for _, row := range report.rows("in_transaction") {
		if strings.Contains(row["state"], "aborted") {
			v.Aborted++
		}
	}
}

func fillRates(v *View, report *DatabaseReport, w *window) {
	v.OfServer = true
	now := counters{worst: map[string]int64{}}
	for _, row := range report.rows("rates") {
		now.conflicts, _ = strconv.ParseInt(row["deadlocks"], 10, 64)
		now.cascades, _ = strconv.ParseInt(row["rollbacks"], 10, 64)
	}
	for _, row := range report.rows("hot_tables") {
		now.worst[row["table"]], _ = strconv.ParseInt(row["updates"], 10, 64)
	}
	w.show(v, now)
}
