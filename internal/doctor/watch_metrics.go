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

// WatchMetrics shows Concord's own /metrics again and again until the context ends. token may be empty.
func WatchMetrics(ctx context.Context, url, token string, every time.Duration, show func(*View)) error {
	w := watch{source: url}
	return w.run(ctx, every, show, func(v *View) error { return scrape(ctx, url, token, v, &w.window) })
}

// maxMetrics bounds what is read of an answer.
const maxMetrics = 16 << 20

func scrape(ctx context.Context, url, token string, v *View, r *window) error {
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
func readMetrics(in io.Reader, v *View, r *window) error {
	now := counters{worst: map[string]int64{}}
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		name, labels, value, ok := metric(lines.Text())
		if !ok {
			continue
		}
		switch {
		case name == "odoo_ha_serialization_failures_total":
			now.conflicts += int64(value)
			now.worst[labels["endpoint"]] += int64(value)
		case name == "concord_sql_errors_total" && labels["sqlstate"] == pglog.StateAborted:
			now.cascades += int64(value)
		case name == "concord_transactions_total" && labels["outcome"] == "retried":
			v.Retried += int64(value)
		case name == "concord_transactions_total" && labels["outcome"] == "lost":
			v.Lost += int64(value)
		}
	}
	r.show(v, now)
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
