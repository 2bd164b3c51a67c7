package doctor

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// DatabaseReport is what the running server showed.
type DatabaseReport struct {
	Asked    time.Time `json:"asked"`
	Version  string    `json:"version"`
	Name     string    `json:"database"`
	Monitor  bool      `json:"sees_all"` // the role may see other users' statements
	Findings []Finding `json:"findings"`
	Tables   []Listing `json:"tables"`
	Skipped  []Skipped `json:"skipped"`
}

// Finding is something to act on.
type Finding struct {
	Check  string   `json:"check"`
	Weight int      `json:"weight"` // 3 acts now, 2 soon, 1 good to know
	Args   []string `json:"args"`
	Fix    string   `json:"fix"` // SQL or setting to type, empty when there is none
}

// Listing is the answer to one question, for those who want to see it.
type Listing struct {
	Check   string     `json:"check"`
	Columns []string   `json:"columns"`
	Rows    [][]string `json:"rows"`
}

// Skipped is a question that could not be asked, and why.
type Skipped struct {
	Check  string `json:"check"`
	Reason string `json:"reason"`
}

// limits that keep the checks harmless on a busy server.
const (
	connectTimeout   = 5 * time.Second
	statementTimeout = 3 * time.Second
	checksTimeout    = 60 * time.Second
)

// Database asks a running server, over one connection, in read-only transactions, each statement with a time limit. It
// changes nothing and waits for no lock.
func Database(ctx context.Context, url string) (*DatabaseReport, error) {
	ctx, cancel := context.WithTimeout(ctx, checksTimeout)
	defer cancel()
	conn, err := connect(ctx, url)
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	r := &DatabaseReport{Asked: time.Now()}
	const about = `SELECT current_setting('server_version'), current_database(),
		pg_has_role(current_user, 'pg_monitor', 'MEMBER') OR (SELECT rolsuper FROM pg_roles WHERE rolname = current_user)`
	if err := conn.QueryRow(ctx, about).Scan(&r.Version, &r.Name, &r.Monitor); err != nil {
		return nil, fmt.Errorf("read server version: %w", err)
	}
	for _, c := range checks {
		r.run(ctx, conn, c)
	}
	return r, nil
}

func connect(ctx context.Context, url string) (*pgx.Conn, error) {
	config, err := pgx.ParseConfig(url)
	if err != nil {
		return nil, errors.New("the database URL is not valid: expected postgres://user:password@host:port/database")
	}
	config.ConnectTimeout = connectTimeout
	config.DefaultQueryExecMode = pgx.QueryExecModeSimpleProtocol // PgBouncer may stand in between
	config.RuntimeParams["application_name"] = "concord doctor"
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("connect to %s:%d: %w", config.Host, config.Port, withoutSecrets(err))
	}
	_, err = conn.Exec(ctx, fmt.Sprintf("SET default_transaction_read_only = on; SET statement_timeout = %d; SET lock_timeout = 500",
		statementTimeout.Milliseconds()))
	if err != nil {
		_ = conn.Close(ctx)
		return nil, fmt.Errorf("prepare the connection: %w", err)
	}
	return conn, nil
}

// withoutSecrets keeps of a connection error what cannot hold the password.
func withoutSecrets(err error) error {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return fmt.Errorf("%s (SQLSTATE %s)", pg.Message, pg.Code)
	}
	var connectErr *pgconn.ConnectError
	if errors.As(err, &connectErr) {
		return connectErr.Unwrap()
	}
	return err
}

// check is one question: its statement, and what its rows mean.
type check struct {
	name  string
	sql   string
	needs string // extension or right without which the question has no answer
	judge func(row map[string]string) (Finding, bool)
}

func (r *DatabaseReport) run(ctx context.Context, conn *pgx.Conn, c check) {
	rows, columns, err := ask(ctx, conn, c.sql)
	if err != nil {
		r.Skipped = append(r.Skipped, Skipped{Check: c.name, Reason: reason(err, c)})
		if c.name == "statements" && missingStatements(err) {
			r.Findings = append(r.Findings, Finding{Check: "no_statements", Weight: 1,
				Fix: "shared_preload_libraries = 'pg_stat_statements'  -- restart, then: CREATE EXTENSION pg_stat_statements"})
		}
		return
	}
	if len(rows) > 0 {
		r.Tables = append(r.Tables, Listing{Check: c.name, Columns: columns, Rows: rows[:min(len(rows), 50)]})
	}
	for _, row := range rows {
		named := make(map[string]string, len(columns))
		for i, column := range columns {
			named[column] = row[i]
		}
		if c.judge == nil {
			break
		}
		if f, ok := c.judge(named); ok {
			if f.Check == "" {
				f.Check = c.name
			}
			r.Findings = append(r.Findings, f)
		}
	}
}

// ask reads an answer as text.
func ask(ctx context.Context, conn *pgx.Conn, sql string) (rows [][]string, columns []string, err error) {
	answer, err := conn.Query(ctx, sql)
	if err != nil {
		return nil, nil, err
	}
	defer answer.Close()
	for _, d := range answer.FieldDescriptions() {
		columns = append(columns, d.Name)
	}
	for answer.Next() && len(rows) < 500 {
		raw := answer.RawValues()
		row := make([]string, len(raw))
		for i, v := range raw {
			row[i] = string(v)
		}
		rows = append(rows, row)
	}
	answer.Close()
	return rows, columns, answer.Err()
}

func reason(err error, c check) string {
	var pg *pgconn.PgError
	if !errors.As(err, &pg) {
		return err.Error()
	}
	switch pg.Code {
	case "57014":
		return "took longer than " + statementTimeout.String() + " and was given up"
	case "42501":
		return "the role may not look there; grant it pg_monitor"
	case "42P01", "42704", "55000":
		if c.needs != "" {
			return c.needs
		}
	}
	return pg.Message + " (SQLSTATE " + pg.Code + ")"
}

func missingStatements(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && (pg.Code == "42P01" || pg.Code == "55000")
}
