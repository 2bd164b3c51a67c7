package doctor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// DatabaseReport is what the running server showed.
type DatabaseReport struct {
	Asked    time.Time `json:"asked"`
	Version  string    `json:"version"`
	Name     string    `json:"database"`
	Role     string    `json:"role"`
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
	why    string // key of the reason in the word files, empty when it is the server's own words
}

// limits that keep the checks harmless on a busy server.
const (
	connectTimeout   = 5 * time.Second
	statementTimeout = 3 * time.Second
	lockTimeout      = 500 * time.Millisecond
	checksTimeout    = 60 * time.Second
)

// Database asks a running server, over one connection, each question in a read-only transaction of its own with time
// limits. It changes nothing, not even a setting of the session: behind a pooler the session is somebody else's a moment later.
func Database(ctx context.Context, url string) (*DatabaseReport, error) {
	ctx, cancel := context.WithTimeout(ctx, checksTimeout)
	defer cancel()
	conn, err := connect(ctx, url)
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	return askAll(ctx, conn, nil)
}

// askAll asks the checks of these names; all without names.
func askAll(ctx context.Context, conn *pgx.Conn, names []string) (*DatabaseReport, error) {
	r := &DatabaseReport{Asked: time.Now()}
	const about = `SELECT current_setting('server_version'), current_database(), current_user,
		pg_has_role(current_user, 'pg_monitor', 'MEMBER') OR (SELECT rolsuper FROM pg_roles WHERE rolname = current_user)`
	if err := conn.QueryRow(ctx, about).Scan(&r.Version, &r.Name, &r.Role, &r.Monitor); err != nil {
		return nil, fmt.Errorf("read server version: %w", err)
	}
	for _, c := range checks {
		if names == nil || slices.Contains(names, c.name) {
			r.run(ctx, conn, c)
		}
	}
	return r, nil
}

// rows gives a listing's rows by the names of their columns.
func (r *DatabaseReport) rows(check string) []map[string]string {
	var out []map[string]string
	for _, t := range r.Tables {
		if t.Check != check {
			continue
		}
		for _, row := range t.Rows {
			out = append(out, byName(t.Columns, row))
		}
	}
	return out
}

func byName(columns, row []string) map[string]string {
	named := make(map[string]string, len(columns))
	for i, column := range columns {
		named[column] = row[i]
	}
	return named
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
		err = connectErr.Unwrap()
	}
	first, _, _ := strings.Cut(err.Error(), "\n") // one line for each address that was tried
	return errors.New(first)
}

// check is one question: its statement, and what its rows mean.
type check struct {
	name  string
	sql   string
	needs string // why there is no answer when a relation is missing: a key of the word files
	judge func(row map[string]string) []Finding
}

func (r *DatabaseReport) run(ctx context.Context, conn *pgx.Conn, c check) {
	rows, columns, err := ask(ctx, conn, c.sql)
	if err != nil {
		r.Skipped = append(r.Skipped, skipped(err, c))
		if c.name == "statements" && missingStatements(err) {
			r.Findings = append(r.Findings, Finding{Check: "no_statements", Weight: 1,
				Fix: "shared_preload_libraries = 'pg_stat_statements'  -- restart, then: CREATE EXTENSION pg_stat_statements"})
		}
		return
	}
	if len(rows) > 0 {
		r.Tables = append(r.Tables, Listing{Check: c.name, Columns: columns, Rows: rows[:min(len(rows), 50)]})
	}
	if c.judge == nil {
		return
	}
	for _, row := range rows {
		for _, f := range c.judge(byName(columns, row)) {
			if f.Check == "" {
				f.Check = c.name
			}
			r.Findings = append(r.Findings, f)
		}
	}
}

// ask reads an answer as text. The time limits end with the transaction.
func ask(ctx context.Context, conn *pgx.Conn, sql string) (rows [][]string, columns []string, err error) {
	tx, err := conn.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.ReadCommitted, AccessMode: pgx.ReadOnly})
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }()
	limits := fmt.Sprintf("SET LOCAL statement_timeout = %d; SET LOCAL lock_timeout = %d", statementTimeout.Milliseconds(), lockTimeout.Milliseconds())
	if _, err := tx.Exec(ctx, limits); err != nil {
		return nil, nil, err
	}
	answer, err := tx.Query(ctx, sql)
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
	if answer.Err() != nil {
		return nil, nil, answer.Err()
	}
	return rows, columns, tx.Commit(ctx) // a rollback would count among those that the doctor looks for
}

// skipped tells why a question has no answer.
func skipped(err error, c check) Skipped {
	s := Skipped{Check: c.name, Reason: err.Error()}
	var pg *pgconn.PgError
	if !errors.As(err, &pg) {
		return s
	}
	s.Reason = pg.Message + " (SQLSTATE " + pg.Code + ")"
	switch pg.Code {
	case "57014":
		s.why = "skip_slow"
	case "55P03":
		s.why = "skip_locked"
	case "42501":
		s.why = "skip_rights"
	case "42P01", "42704", "55000":
		if c.needs != "" {
			s.why = c.needs
		}
	}
	if s.why != "" {
		s.Reason = say("en", s.why)
	}
	return s
}

func missingStatements(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && (pg.Code == "42P01" || pg.Code == "55000")
}
