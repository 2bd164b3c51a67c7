package doctor

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/concord-home/concord/internal/pglog"
)

// View is one refresh of the monitor.
type View struct {
	Source   string
	At       time.Time
	Rate     float64 // conflicts a minute
	Cascades float64 // echoes a minute
	Retried  int64
	Lost     int64
	Worst    []string // endpoints or tables with most conflicts
	Blockers []string
	Problem  string // the source could not be read just now
}

// LinePrinter gives a callback that prints one line whenever the numbers of a followed log have changed.
func LinePrinter(w io.Writer, lang string) func(*pglog.Result) {
	var conflictsBefore, cascadesBefore int64 = -1, -1
	return func(r *pglog.Result) {
		c := conflicts(r)
		if c == conflictsBefore && r.Totals.Cascades == cascadesBefore {
			return
		}
		conflictsBefore, cascadesBefore = c, r.Totals.Cascades
		_, _ = fmt.Fprintf(w, "%s  %s  %s %s, %s %s\n", clock(r.Last), stateCounts(r.Totals.RootsByState),
			say(lang, "col_cascades"), count(r.Totals.Cascades), say(lang, "col_retried"), count(retriedOf(r)))
	}
}

func retriedOf(r *pglog.Result) int64 {
	var n int64
	for _, in := range r.Incidents {
		n += in.RetriedOK
	}
	return n
}

// rates turns growing counts into counts a minute.
type rates struct {
	window []sampleOfCounts
}

type sampleOfCounts struct {
	at                  time.Time
	conflicts, cascades int64
}

// rateWindow is the time over which the monitor's rates are taken.
const rateWindow = time.Minute

func (r *rates) add(at time.Time, conflicts, cascades int64) (perMinute, echoes float64) {
	r.window = append(r.window, sampleOfCounts{at, conflicts, cascades})
	for len(r.window) > 2 && at.Sub(r.window[0].at) > rateWindow {
		r.window = r.window[1:]
	}
	first := r.window[0]
	span := at.Sub(first.at).Minutes()
	if span <= 0 {
		return 0, 0
	}
	return float64(conflicts-first.conflicts) / span, float64(cascades-first.cascades) / span
}

// LogViews turns the results of a followed log into views.
func LogViews(source string, show func(*View)) func(*pglog.Result) {
	var r rates
	return func(result *pglog.Result) {
		v := &View{Source: source, At: time.Now()}
		v.Rate, v.Cascades = r.add(v.At, conflicts(result), result.Totals.Cascades)
		for _, in := range result.Incidents {
			v.Retried += in.RetriedOK
			v.Lost += in.Lost
			if !in.Orphan && worthTelling(&in) && len(v.Worst) < 5 {
				what := strings.Fields(in.SQLState + " " + in.Table + " " + in.Endpoint)
				v.Worst = append(v.Worst, fmt.Sprintf("%s ×%d", strings.Join(what, " "), in.Count))
			}
		}
		show(v)
	}
}

// WatchDatabase shows a server again and again until the context ends.
func WatchDatabase(ctx context.Context, url string, every time.Duration, show func(*View)) error {
	var r rates
	for first := true; ; first = false {
		report, err := Database(ctx, url)
		v := &View{Source: "database", At: time.Now()}
		switch {
		case err != nil && first:
			return err
		case err != nil:
			v.Problem = err.Error()
		default:
			fillFromDatabase(v, report, &r)
		}
		show(v)
		if !wait(ctx, every) {
			return nil
		}
	}
}

func fillFromDatabase(v *View, report *DatabaseReport, r *rates) {
	v.Source = "PostgreSQL " + report.Version + ", " + report.Name
	for _, t := range report.Tables {
		switch t.Check {
		case "rates":
			v.Rate, _ = r.add(v.At, int64(number(t.Rows[0][4])), 0)
		case "chain_heads":
			for _, row := range t.Rows {
				v.Blockers = append(v.Blockers, fmt.Sprintf("%s blocks %s (%s, %s s): %s", row[0], row[1], row[2], row[3], row[5]))
			}
		case "hot_tables":
			for _, row := range t.Rows[:min(len(t.Rows), 5)] {
				v.Worst = append(v.Worst, row[0]+" ×"+row[1])
			}
		}
	}
}

func wait(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// WatchMetrics shows Concord's own /metrics again and again until the context ends. token may be empty.
func WatchMetrics(ctx context.Context, url, token string, every time.Duration, show func(*View)) error {
	var r rates
	for first := true; ; first = false {
		v := &View{Source: url, At: time.Now()}
		err := scrape(ctx, url, token, v, &r)
		switch {
		case err != nil && first:
			return err
		case err != nil:
			v.Problem = err.Error()
		}
		show(v)
		if !wait(ctx, every) {
			return nil
		}
	}
}

// maxMetrics bounds what is read of an answer.
const maxMetrics = 16 << 20

func scrape(ctx context.Context, url, token string, v *View, r *rates) error {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return errors.New("the metrics URL is not valid")
	}
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return fmt.Errorf("read metrics: %w", err)
	}
	defer func() { _ = answer.Body.Close() }()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("read metrics: %s", answer.Status)
	}
	return readMetrics(io.LimitReader(answer.Body, maxMetrics), v, r)
}

// readMetrics sums the counters that the monitor shows.
func readMetrics(in io.Reader, v *View, r *rates) error {
	var failures float64
	endpoints := map[string]int64{}
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		name, labels, value, ok := metric(lines.Text())
		if !ok {
			continue
		}
		switch {
		case name == "odoo_ha_serialization_failures_total":
			failures += value
			endpoints[labels["endpoint"]] += int64(value)
		case name == "concord_transactions_total" && strings.Contains(labels["outcome"], "retr"):
			v.Retried += int64(value)
		case name == "concord_transactions_total" && (labels["outcome"] == "exhausted" || labels["outcome"] == "lost"):
			v.Lost += int64(value)
		}
	}
	v.Rate, _ = r.add(v.At, int64(failures), 0)
	for _, endpoint := range sortedKeys(endpoints) {
		if len(v.Worst) < 5 && endpoints[endpoint] > 0 {
			v.Worst = append(v.Worst, fmt.Sprintf("%s ×%d", endpoint, endpoints[endpoint]))
		}
	}
	return lines.Err()
}

// metric reads `name{label="value"} 1.5`.
func metric(line string) (name string, labels map[string]string, value float64, ok bool) {
	if line == "" || line[0] == '#' {
		return "", nil, 0, false
	}
	head, number, found := strings.Cut(line, " ")
	labels = map[string]string{}
	if open := strings.IndexByte(line, '{'); open > 0 {
		end := strings.LastIndexByte(line, '}')
		if end < open {
			return "", nil, 0, false
		}
		head, number, found = line[:open], strings.TrimSpace(line[end+1:]), true
		for pair := range strings.SplitSeq(line[open+1:end], `",`) {
			key, text, _ := strings.Cut(pair, `="`)
			labels[strings.TrimSpace(key)] = strings.TrimSuffix(text, `"`)
		}
	}
	number, _, _ = strings.Cut(number, " ")
	value, err := strconv.ParseFloat(number, 64)
	return head, labels, value, found && err == nil
}

// WriteLine prints a view as one plain line.
func (v *View) WriteLine(w io.Writer, lang string) {
	line := v.At.UTC().Format("15:04:05") + "  " + say(lang, "monitor_rate", rateText(v.Rate), rateText(v.Cascades)) +
		"  " + say(lang, "col_retried") + " " + count(v.Retried) + "  " + say(lang, "col_lost") + " " + count(v.Lost)
	if len(v.Blockers) > 0 {
		line += "  " + say(lang, "monitor_blockers", strconv.Itoa(len(v.Blockers)))
	}
	if v.Problem != "" {
		line += "  " + v.Problem
	}
	_, _ = fmt.Fprintln(w, line)
}

// WriteScreen draws a view over the last one.
func (v *View) WriteScreen(w io.Writer, lang string) {
	var b strings.Builder
	b.WriteString("\033[H\033[2J")
	b.WriteString(say(lang, "monitor_title", v.Source) + "  " + v.At.UTC().Format("15:04:05 UTC") + "\n\n")
	b.WriteString(say(lang, "monitor_rate", rateText(v.Rate), rateText(v.Cascades)) + "\n")
	b.WriteString(say(lang, "col_retried") + " " + count(v.Retried) + ", " + say(lang, "col_lost") + " " + count(v.Lost) + "\n\n")
	for _, line := range v.Worst {
		b.WriteString("  " + line + "\n")
	}
	if len(v.Worst) == 0 {
		b.WriteString("  " + say(lang, "monitor_quiet") + "\n")
	}
	if len(v.Blockers) > 0 {
		b.WriteString("\n" + say(lang, "monitor_blockers", strconv.Itoa(len(v.Blockers))) + "\n")
		for _, line := range v.Blockers {
			b.WriteString("  " + shorten(line, 120) + "\n")
		}
	}
	if v.Problem != "" {
		b.WriteString("\n" + v.Problem + "\n")
	}
	_, _ = io.WriteString(w, b.String())
}

func rateText(n float64) string { return strconv.FormatFloat(n, 'f', 1, 64) }
