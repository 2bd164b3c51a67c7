package app

import (
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/concord-home/concord"
)

// Config is everything that can be set. The zero value of most fields means
// the default that [Config.withDefaults] gives.
type Config struct {
	Listen        string // address of the web server
	DatabaseURL   string // "" runs a private PostgreSQL
	NATSURL       string // "" runs JetStream in this process
	HAURL         string // "" runs a simulated home
	HAToken       string
	DataDir       string
	AdminPassword string // of the first user; "" makes one up
	MetricsToken  string
	TrustProxy    bool
	AllowedHosts  []string // names of this server beside localhost, its addresses and the machine's own; "*" is any
	Version       string

	MaxConns         int           // connections to the database
	Attempts         int           // of a transaction
	FirstWait        time.Duration // between attempts, doubling
	LongestWait      time.Duration
	Chunk            int                    // records per statement of a reconciliation
	Commit           int                    // records per transaction of a reconciliation
	ReconcilePeriod  time.Duration          // between reconciliations that nothing else asked for
	DatabaseWait     time.Duration          // how long the start waits for the database
	SpoolMaxBytes    int64                  // 0 means a quarter of the free disk, 8 GiB at most
	SpoolMaxAge      time.Duration          // 0 means any
	SpoolSync        time.Duration          // 0 means that each message is on disk before it is acknowledged
	SpoolReplicas    int                    // in a cluster; 0 means 3, or 1 where there is none
	HistoryDays      int                    // that raw history and 5-minute statistics are kept; 0 means 10
	BackfillDays     int                    // that a home is asked for at most; 0 means 30
	BackfillPatience time.Duration          // before a home is taken not to know; 0 means 10 minutes
	Deadband         []concord.DeadbandRule // what is kept out of history
	SimulatedRate    float64                // changes a second of the simulated home
	SimulatedEntites int

	HealthWindow    time.Duration // that the health of conflicts looks at
	HealthDegraded  float64       // failure rate above which it is degraded
	HealthUnhealthy float64       // and unhealthy
	HealthMinimum   int64         // transactions in the window below which it is always healthy
	NotifyAt        float64       // failure rate from which people are told
	NotifyURLs      []string      // whom to tell; they hold secrets
	MetricsEntities []string      // entities whose states are metrics, 500 at most
	Traces          TraceConfig

	Logger *slog.Logger
	// Announce is told, once, where the page is and the first password, "" when
	// it was given or there are users already.
	Announce func(address, login, password string)
}

// simulatedURL stands in the database for the simulated home, whose real
// address changes with each start.
const simulatedURL = "simulated"

func (c Config) withDefaults() Config {
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Listen == "" {
		c.Listen = "127.0.0.1:8069"
	}
	if c.DataDir == "" {
		c.DataDir = DefaultDataDir()
	}
	if c.Attempts == 0 {
		c.Attempts = 10
	}
	if c.FirstWait == 0 {
		c.FirstWait = 5 * time.Millisecond
	}
	if c.LongestWait == 0 {
		c.LongestWait = time.Second
	}
	if c.DatabaseWait == 0 {
		c.DatabaseWait = 10 * time.Second
	}
	if c.SimulatedRate == 0 {
		c.SimulatedRate = 2
	}
	if c.Announce == nil {
		c.Announce = func(string, string, string) {}
	}
	return c
}

func (c Config) validate() error {
	if c.HAURL == "" {
		return nil
	}
	u, err := url.Parse(c.HAURL)
	if err == nil && (u.User != nil || u.RawQuery != "") || err != nil && strings.Contains(c.HAURL, "@") {
		return concord.Errorf(concord.CodeInvalid, "HA_URL: put the token into HA_TOKEN, not into the address")
	}
	if err != nil || u.Host == "" {
		return concord.Errorf(concord.CodeInvalid, "HA_URL: %q is not an address such as ws://homeassistant.local:8123/api/websocket", harmless(c.HAURL))
	}
	switch u.Scheme {
	case "ws", "wss", "http", "https":
	default:
		return concord.Errorf(concord.CodeInvalid, "HA_URL: the scheme is %q, it must be ws or wss", u.Scheme)
	}
	if c.HAToken == "" {
		return concord.Errorf(concord.CodeInvalid, "HA_TOKEN: missing; make a long-lived access token in Home Assistant, under your profile")
	}
	return nil
}

// harmless is what of a wrong address may be shown: nothing before an @, after a
// ? or #, or that is so long that it may be a token in the wrong place.
func harmless(address string) string {
	address = address[strings.LastIndexByte(address, '@')+1:]
	if i := strings.IndexAny(address, "?#"); i >= 0 {
		address = address[:i]
	}
	if len(address) > 80 {
		return address[:8] + "…"
	}
	return address
}

// DefaultDataDir is where Concord keeps its data unless told otherwise:
// /var/lib/concord for root, else the user's own data directory.
func DefaultDataDir() string {
	if os.Geteuid() == 0 {
		return "/var/lib/concord"
	}
	if dir := os.Getenv("XDG_DATA_HOME"); dir != "" {
		return filepath.Join(dir, "concord")
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "concord-data"
	}
	return filepath.Join(home, ".local", "share", "concord")
}

// databaseURLFile holds the connection string of the running server's database.
func databaseURLFile(dir string) string { return filepath.Join(dir, "database-url") }

// DatabaseURL returns the connection string of the database of the Concord
// that runs, or last ran, with that data directory. It holds the password.
func DatabaseURL(dir string) (string, error) {
	if dir == "" {
		dir = DefaultDataDir()
	}
	b, err := os.ReadFile(databaseURLFile(dir))
	if os.IsNotExist(err) {
		return "", fmt.Errorf("no Concord has run with the data directory %s (set CONCORD_DATA)", dir)
	}
	return string(b), err
}
