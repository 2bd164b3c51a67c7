package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/concord-home/concord"
	"github.com/concord-home/concord/internal/app"
)

type serveCmd struct {
	Listen           string        `env:"LISTEN" default:"127.0.0.1:8069" help:"Address of the web server."`
	Data             string        `env:"CONCORD_DATA" placeholder:"DIR" help:"Data directory (default: /var/lib/concord for root, else ~/.local/share/concord)."`
	HAURL            string        `name:"ha-url" env:"HA_URL" placeholder:"URL" help:"WebSocket address of Home Assistant, such as ws://homeassistant.local:8123/api/websocket. Without it a simulated home is run. Its token comes from HA_TOKEN or HA_TOKEN_FILE."`
	NATSURL          string        `name:"nats-url" placeholder:"URL" help:"NATS JetStream for the spool; without it one runs in this process. With a password: NATS_URL or NATS_URL_FILE."`
	LogLevel         string        `env:"LOG_LEVEL" enum:"debug,info,warn,error" default:"info" help:"Least level that is logged."`
	LogFormat        string        `env:"LOG_FORMAT" enum:"text,json" default:"text" help:"Form of log lines."`
	MaxConns         int           `env:"DATABASE_POOL" default:"10" help:"Most connections to the database."`
	DatabaseWait     time.Duration `env:"DATABASE_WAIT" default:"10s" help:"How long the start waits for the database."`
	Attempts         int           `env:"RETRY_ATTEMPTS" default:"10" help:"Most attempts of a transaction that meets conflicts."`
	FirstWait        time.Duration `env:"RETRY_FIRST_WAIT" default:"5ms" help:"First wait between attempts; it doubles, with jitter."`
	LongestWait      time.Duration `env:"RETRY_LONGEST_WAIT" default:"1s" help:"Longest wait between attempts."`
	Chunk            int           `env:"SYNC_CHUNK" default:"100" help:"Records per statement of a reconciliation."`
	Commit           int           `env:"SYNC_COMMIT" default:"500" help:"Records per transaction of a reconciliation."`
	ReconcilePeriod  time.Duration `env:"RECONCILE_PERIOD" default:"5m" help:"Time between reconciliations that nothing else asked for."`
	SpoolMaxBytes    int64         `env:"SPOOL_MAX_BYTES" default:"0" help:"Most bytes in the spool; 0 is a quarter of the free disk, 8 GiB at most. A change holds from the next start."`
	SpoolMaxAge      time.Duration `env:"SPOOL_MAX_AGE" default:"240h" help:"How long a change may wait in the spool before it takes no more; 0 is any time. What it does not take is asked of the home later."`
	SpoolSync        time.Duration `env:"SPOOL_SYNC" default:"0s" help:"How long the spool of this process may wait with what it heard until it is safe from a power failure; 0 is not at all."`
	SpoolReplicas    int           `env:"SPOOL_REPLICAS" default:"0" help:"Copies of the spool in the cluster of NATS_URL; 0 is 3, or 1 where it is no cluster. Counts when the spool is made."`
	BackfillDays     int           `env:"BACKFILL_DAYS" default:"30" help:"Days that a home is asked for at most after Concord was away; what is older is a gap."`
	BackfillPatience time.Duration `env:"BACKFILL_PATIENCE" default:"10m" help:"Time that a home is given to write its own history down before what it does not know is a gap."`
	HistoryDays      int           `env:"HISTORY_DAYS" default:"10" help:"Days that raw history and 5-minute statistics are kept; hourly ones are kept for ever."`
	Deadband         []string      `env:"DEADBAND" sep:";" placeholder:"RULE" help:"Keep small changes out of history, such as \"sensor.*_power: absolute=5 interval=10s\"; the first rule that matches counts."`
	AllowedHosts     []string      `env:"ALLOWED_HOSTS" placeholder:"NAME" help:"Names by which browsers and Prometheus call this server, separated by commas, beside localhost, IP addresses and the machine's own name; * allows any."`
	TrustProxy       bool          `env:"TRUST_PROXY" help:"Believe X-Forwarded-For and X-Forwarded-Proto: only behind a proxy that sets them."`
	HealthWindow     time.Duration `env:"HEALTH_WINDOW" default:"1h" help:"Time that the health of conflicts looks back, a day at most."`
	HealthDegraded   float64       `env:"HEALTH_DEGRADED" default:"0.05" help:"Share of write transactions with conflicts above which it is degraded."`
	HealthUnhealthy  float64       `env:"HEALTH_UNHEALTHY" default:"0.20" help:"Share above which it is unhealthy."`
	HealthMinimum    int64         `env:"HEALTH_MINIMUM" default:"20" help:"Write transactions in the window below which it is always healthy."`
	NotifyAt         float64       `env:"NOTIFY_AT" default:"0.10" help:"Share of write transactions with conflicts from which the addresses of NOTIFY_URLS are told."`
	MetricsEntities  []string      `env:"METRICS_ENTITIES" help:"Entities, separated by commas, whose states are metrics: 500 at most."`
	SimulatedRate    float64       `name:"simulated-rate" env:"SIMHOME_RATE" default:"2" help:"Changes a second of the simulated home."`
	SimulatedSize    int           `name:"simulated-entities" env:"SIMHOME_ENTITIES" default:"0" help:"Entities of the simulated home; 0 is a family house."`
}

// Help is what `concord serve --help` says beneath the usage.
func (*serveCmd) Help() string {
	return `Secrets come from the environment only, each also as NAME_FILE with the path
of a file that holds it:

  HA_TOKEN                 long-lived access token of the home
  NATS_URL                 address of the spool's server, as --nats-url
  DATABASE_URL             connection string of a PostgreSQL (15 or newer);
                           without it a private one is run
  CONCORD_ADMIN_PASSWORD   password of the first user, admin; without it one is
                           made up and printed once
  METRICS_TOKEN            lets others than this machine read /metrics
  NOTIFY_URLS              whom to tell of conflicts, separated by spaces: the
                           https address of a webhook that takes Slack's messages,
                           or a shoutrrr address (telegram://, smtp://, ntfy://,
                           generic+https://, …)

Traces go to an OpenTelemetry receiver when OTEL_EXPORTER_OTLP_ENDPOINT names
one; the other OTEL_… variables hold too (docs/traces.md).

The database of the running server: concord db url`
}

// Run serves until the process is told to stop.
func (c *serveCmd) Run(ctx context.Context) error {
	config, err := c.config()
	if err != nil {
		return err
	}
	a, err := app.New(ctx, config)
	if err != nil {
		return err
	}
	return a.Run(ctx)
}

func (c *serveCmd) config() (app.Config, error) {
	config := app.Config{
		Listen: c.Listen, DataDir: c.Data, HAURL: c.HAURL, NATSURL: c.NATSURL, MaxConns: c.MaxConns, DatabaseWait: c.DatabaseWait,
		Attempts: c.Attempts, FirstWait: c.FirstWait, LongestWait: c.LongestWait, Chunk: c.Chunk, Commit: c.Commit,
		ReconcilePeriod: c.ReconcilePeriod, SpoolMaxBytes: c.SpoolMaxBytes, SpoolMaxAge: c.SpoolMaxAge,
		SpoolSync: c.SpoolSync, SpoolReplicas: c.SpoolReplicas, TrustProxy: c.TrustProxy, AllowedHosts: c.AllowedHosts,
		SimulatedRate: c.SimulatedRate, SimulatedEntites: c.SimulatedSize, Version: version(),
		BackfillDays: c.BackfillDays, BackfillPatience: c.BackfillPatience,
		HistoryDays: c.HistoryDays, Logger: newLogger(os.Stderr, c.LogLevel, c.LogFormat), Announce: announce,
		Traces: app.TracesOfEnvironment(),
	}
	for _, text := range c.Deadband {
		rule, err := concord.ParseDeadbandRule(text)
		if err != nil {
			return config, fmt.Errorf("DEADBAND: %w", err)
		}
		config.Deadband = append(config.Deadband, rule)
	}
	config.HealthWindow, config.HealthDegraded, config.HealthUnhealthy = c.HealthWindow, c.HealthDegraded, c.HealthUnhealthy
	config.HealthMinimum, config.NotifyAt, config.MetricsEntities = c.HealthMinimum, c.NotifyAt, c.MetricsEntities
	if err := withoutSecret("--nats-url", "NATS_URL", c.NATSURL); err != nil {
		return config, err
	}
	var notify, nats string
	for name, target := range map[string]*string{
		"HA_TOKEN": &config.HAToken, "DATABASE_URL": &config.DatabaseURL,
		"CONCORD_ADMIN_PASSWORD": &config.AdminPassword, "METRICS_TOKEN": &config.MetricsToken, "NOTIFY_URLS": &notify,
		"NATS_URL": &nats,
	} {
		var err error
		if *target, err = secret(name); err != nil {
			return config, err
		}
	}
	config.NotifyURLs = strings.Fields(notify)
	config.NATSURL = cmp.Or(config.NATSURL, nats)
	return config, c.validate()
}

// withoutSecret refuses an address with a password as a flag: every user of the
// machine sees the flags of every process.
func withoutSecret(flag, variable, address string) error {
	if !strings.Contains(address, "@") {
		return nil
	}
	return fmt.Errorf("%s: all users of this machine see an address with a user or a password: set %s instead", flag, variable)
}

// validate refuses what the types let through, naming the variable.
func (c *serveCmd) validate() error {
	for _, setting := range []struct {
		name string
		fine bool
		want string
	}{
		{"DATABASE_POOL", c.MaxConns >= 2, "at least 2"},
		{"RETRY_ATTEMPTS", c.Attempts >= 1, "at least 1"},
		{"RETRY_FIRST_WAIT", c.FirstWait > 0, "more than 0"},
		{"RETRY_LONGEST_WAIT", c.LongestWait >= c.FirstWait, "at least RETRY_FIRST_WAIT"},
		{"SYNC_CHUNK", c.Chunk >= 1, "at least 1"},
		{"SYNC_COMMIT", c.Commit >= c.Chunk, "at least SYNC_CHUNK"},
		{"BACKFILL_DAYS", c.BackfillDays >= 1, "at least 1"},
		{"BACKFILL_PATIENCE", c.BackfillPatience > 0, "more than 0"},
		{"HISTORY_DAYS", c.HistoryDays >= 1, "at least 1"},
		{"RECONCILE_PERIOD", c.ReconcilePeriod >= time.Second, "at least 1s"},
		{"SPOOL_MAX_BYTES", c.SpoolMaxBytes == 0 || c.SpoolMaxBytes >= 1<<20, "0 or at least 1048576"},
		{"SPOOL_MAX_AGE", c.SpoolMaxAge == 0 || c.SpoolMaxAge >= time.Minute, "0 or at least 1m"},
		{"SPOOL_SYNC", c.SpoolSync == 0 || c.SpoolSync >= time.Millisecond && c.SpoolSync <= time.Minute, "0, or 1ms to 1m"},
		{"SPOOL_REPLICAS", c.SpoolReplicas >= 0 && c.SpoolReplicas <= 5, "0 to 5"},
		{"HEALTH_WINDOW", c.HealthWindow >= time.Minute && c.HealthWindow <= 24*time.Hour, "1m to 24h"},
		{"HEALTH_DEGRADED", c.HealthDegraded > 0 && c.HealthDegraded < 1, "more than 0 and less than 1"},
		{"HEALTH_UNHEALTHY", c.HealthUnhealthy > c.HealthDegraded && c.HealthUnhealthy < 1, "more than HEALTH_DEGRADED and less than 1"},
		{"HEALTH_MINIMUM", c.HealthMinimum >= 1, "at least 1"},
		{"NOTIFY_AT", c.NotifyAt > 0 && c.NotifyAt <= 1, "more than 0 and at most 1"},
		{"METRICS_ENTITIES", len(c.MetricsEntities) <= 500, "at most 500 entities"},
	} {
		if !setting.fine {
			return fmt.Errorf("%s: want %s", setting.name, setting.want)
		}
	}
	return nil
}

// secret reads NAME, or the file that NAME_FILE names.
func secret(name string) (string, error) {
	if v := os.Getenv(name); v != "" {
		return v, nil
	}
	path := os.Getenv(name + "_FILE")
	if path == "" {
		return "", nil
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("%s_FILE: %w", name, err)
	}
	return strings.TrimSpace(string(b)), nil
}

func announce(address, login, password string) {
	fmt.Printf("\nConcord is ready: %s\n", address)
	if password != "" {
		fmt.Printf("  login     %s\n  password  %s   (shown this once)\n", login, password)
	}
	fmt.Println()
}

// newLogger prints the level WARN as WARNING: existing log watchers look for it.
func newLogger(w io.Writer, level, format string) *slog.Logger {
	var least slog.Level
	_ = least.UnmarshalText([]byte(level)) // kong has checked it
	options := &slog.HandlerOptions{Level: least, ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
		if len(groups) == 0 && a.Key == slog.LevelKey && a.Value.Any() == slog.LevelWarn {
			a.Value = slog.StringValue("WARNING")
		}
		return a
	}}
	if format == "json" {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}
