package doctor

import (
	"strconv"
	"strings"
)

// number reads a column as a number, 0 when it is none.
func number(s string) float64 {
	n, _ := strconv.ParseFloat(s, 64)
	return n
}

// thresholds of the live checks.
const (
	longTransaction = 60   // seconds
	idleTransaction = 10   // seconds
	oldPrepared     = 60   // seconds
	rollbackShare   = 5    // percent
	fullPool        = 85   // percent of max_connections
	hotUpdates      = 1000 // updates of a table before its HOT share counts
	lowHOT          = 80   // percent
)

// checks are asked in this order. Every statement reads views of the catalogue only.
var checks = []check{
	{name: "blocked", sql: `SELECT w.pid, w.usename AS "user", coalesce(w.application_name, '') AS application,
		coalesce(w.wait_event_type || '/' || w.wait_event, '') AS wait,
		round(extract(epoch FROM clock_timestamp() - w.state_change)::numeric, 1) AS seconds,
		array_to_string(pg_blocking_pids(w.pid), ' ') AS blocked_by, left(w.query, 120) AS query
		FROM pg_stat_activity w WHERE cardinality(pg_blocking_pids(w.pid)) > 0 ORDER BY w.state_change LIMIT 50`,
		judge: judgeBlocked},
	{name: "chain_heads", sql: `WITH e AS (SELECT a.pid, b.b FROM pg_stat_activity a, LATERAL unnest(pg_blocking_pids(a.pid)) b(b)
			WHERE a.wait_event_type = 'Lock')
		SELECT e.b AS head, count(*) AS waiters, coalesce(a.state, '') AS state,
		round(extract(epoch FROM clock_timestamp() - coalesce(a.xact_start, a.state_change))::numeric, 1) AS seconds,
		coalesce(a.application_name, '') AS application, coalesce(left(a.query, 120), '') AS last_query
		FROM e LEFT JOIN pg_stat_activity a ON a.pid = e.b WHERE e.b NOT IN (SELECT pid FROM e)
		GROUP BY 1, 3, 4, 5, 6 ORDER BY 2 DESC`, judge: judgeHead},
	{name: "prepared", sql: `SELECT p.gid, p.owner, p.database, round(extract(epoch FROM clock_timestamp() - p.prepared)::numeric, 1) AS seconds,
		age(p.transaction) AS xid_age,
		(SELECT count(*) FROM pg_locks w WHERE w.locktype = 'transactionid' AND NOT w.granted AND w.transactionid = p.transaction) AS waiters
		FROM pg_prepared_xacts p ORDER BY p.prepared`, judge: judgePrepared},
	{name: "in_transaction", sql: `SELECT pid, usename AS "user", application_name AS application, state,
		round(extract(epoch FROM clock_timestamp() - xact_start)::numeric, 1) AS transaction_seconds,
		round(extract(epoch FROM clock_timestamp() - state_change)::numeric, 1) AS idle_seconds,
		age(backend_xmin) AS xmin_age, left(query, 120) AS last_query
		FROM pg_stat_activity WHERE state LIKE 'idle in transaction%' ORDER BY state_change`, judge: judgeIdle},
	{name: "long_running", sql: `SELECT pid, usename AS "user", application_name AS application, state,
		round(extract(epoch FROM clock_timestamp() - query_start)::numeric, 1) AS statement_seconds,
		round(extract(epoch FROM clock_timestamp() - xact_start)::numeric, 1) AS transaction_seconds, left(query, 120) AS query
		FROM pg_stat_activity WHERE state = 'active' AND pid <> pg_backend_pid() AND backend_type = 'client backend'
		AND clock_timestamp() - query_start > interval '5 seconds' ORDER BY query_start`, judge: judgeLong},
	{name: "rates", sql: `SELECT datname AS database, xact_commit AS commits, xact_rollback AS rollbacks,
		coalesce(round(100.0 * xact_rollback / nullif(xact_commit + xact_rollback, 0), 2), 0) AS rollback_percent,
		deadlocks, conflicts AS recovery_conflicts, temp_files, temp_bytes, coalesce(stats_reset::text, '') AS since
		FROM pg_stat_database WHERE datname = current_database()`, judge: judgeRates},
	{name: "recovery_conflicts", sql: `SELECT datname AS database, confl_lock, confl_snapshot, confl_bufferpin, confl_deadlock
		FROM pg_stat_database_conflicts WHERE datname = current_database()
		AND confl_lock + confl_snapshot + confl_bufferpin + confl_deadlock > 0`, judge: judgeRecovery},
	{name: "isolation", sql: `SELECT 'server' AS scope, '' AS database, '' AS role, 'default_transaction_isolation=' || setting AS setting
		FROM pg_settings WHERE name = 'default_transaction_isolation'
		UNION ALL SELECT 'override', coalesce(d.datname, ''), coalesce(r.rolname, ''), c FROM pg_db_role_setting s
		LEFT JOIN pg_database d ON d.oid = setdatabase LEFT JOIN pg_roles r ON r.oid = setrole, unnest(setconfig) c
		WHERE c ~ '^(default_transaction_isolation|lock_timeout|statement_timeout|idle_in_transaction_session_timeout|deadlock_timeout)='`},
	{name: "settings", sql: `SELECT name, setting, coalesce(unit, '') AS unit FROM pg_settings WHERE name IN (
		'log_line_prefix', 'log_min_messages', 'log_min_error_statement', 'log_error_verbosity', 'log_lock_waits', 'deadlock_timeout',
		'log_destination', 'logging_collector', 'lc_messages', 'log_timezone', 'lock_timeout', 'statement_timeout',
		'idle_in_transaction_session_timeout', 'log_min_duration_statement', 'log_statement', 'log_connections', 'log_disconnections',
		'max_prepared_transactions', 'max_pred_locks_per_transaction', 'max_connections') ORDER BY 1`, judge: judgeSetting},
	{name: "connections", sql: `SELECT count(*) AS used, current_setting('max_connections')::int AS allowed,
		round(100.0 * count(*) / current_setting('max_connections')::int, 0) AS percent,
		count(*) FILTER (WHERE state = 'idle') AS idle, count(*) FILTER (WHERE state = 'active') AS active
		FROM pg_stat_activity WHERE backend_type = 'client backend'`, judge: judgeConnections},
	{name: "predicate_locks", sql: `SELECT relation::regclass AS table, locktype, count(*) AS locks, count(DISTINCT virtualtransaction) AS transactions
		FROM pg_locks WHERE mode = 'SIReadLock' GROUP BY 1, 2 ORDER BY 3 DESC LIMIT 10`, judge: judgePredicate},
	{name: "hot_tables", sql: `SELECT s.relname AS table, n_tup_upd AS updates, n_tup_hot_upd AS hot_updates,
		coalesce(round(100.0 * n_tup_hot_upd / nullif(n_tup_upd, 0), 1), 100) AS hot_percent, n_live_tup AS live, n_dead_tup AS dead,
		coalesce((SELECT option_value FROM pg_options_to_table(c.reloptions) WHERE option_name = 'fillfactor'), '100') AS fillfactor,
		coalesce(last_autovacuum::text, '') AS last_autovacuum
		FROM pg_stat_user_tables s JOIN pg_class c ON c.oid = s.relid WHERE n_tup_upd > 0 ORDER BY n_tup_upd DESC LIMIT 10`, judge: judgeHot},
	{name: "statements", needs: "pg_stat_statements is not installed", sql: `SELECT calls, round(mean_exec_time::numeric, 2) AS mean_ms,
		round(max_exec_time::numeric, 1) AS max_ms, left(regexp_replace(query, '\s+', ' ', 'g'), 120) AS query FROM pg_stat_statements
		WHERE query ~* '^\s*(update|delete|insert|select .* for )' ORDER BY max_exec_time * calls DESC LIMIT 8`, judge: judgeStatement},
	{name: "unindexed_keys", sql: `SELECT conrelid::regclass AS child, conname AS constraint, confrelid::regclass AS parent FROM pg_constraint k
		WHERE contype = 'f' AND NOT EXISTS (SELECT 1 FROM pg_index i WHERE i.indrelid = k.conrelid
		AND (i.indkey::int2[])[0:cardinality(k.conkey)-1] @> k.conkey) ORDER BY 1 LIMIT 50`, judge: judgeUnindexed},
	{name: "horizon", sql: `SELECT 'backend ' || pid AS who, age(backend_xmin) AS xmin_age FROM pg_stat_activity
		WHERE backend_xmin IS NOT NULL AND pid <> pg_backend_pid()
		UNION ALL SELECT 'prepared ' || gid, age(transaction) FROM pg_prepared_xacts
		UNION ALL SELECT 'slot ' || slot_name, age(xmin) FROM pg_replication_slots WHERE xmin IS NOT NULL ORDER BY 2 DESC NULLS LAST LIMIT 5`,
		judge: judgeHorizon},
}

func judgeBlocked(row map[string]string) (Finding, bool) {
	return Finding{Weight: 2, Args: []string{row["pid"], row["application"], row["blocked_by"], row["query"]}}, true
}

func judgeHead(row map[string]string) (Finding, bool) {
	if row["head"] == "0" {
		return Finding{Check: "prepared_blocks", Weight: 3, Args: []string{row["waiters"]},
			Fix: "SELECT gid, prepared, owner FROM pg_prepared_xacts ORDER BY prepared;"}, true
	}
	return Finding{Weight: 3, Args: []string{row["head"], row["application"], row["waiters"], row["state"], row["seconds"], row["last_query"]},
		Fix: "SELECT pg_terminate_backend(" + row["head"] + ");  -- only after asking its owner"}, true
}

func judgePrepared(row map[string]string) (Finding, bool) {
	weight := 1
	if number(row["waiters"]) > 0 || number(row["seconds"]) > oldPrepared {
		weight = 3
	}
	gid := strings.ReplaceAll(row["gid"], "'", "''")
	return Finding{Weight: weight, Args: []string{row["gid"], row["owner"], row["seconds"], row["waiters"]},
		Fix: "ROLLBACK PREPARED '" + gid + "';  -- or COMMIT PREPARED, as its transaction manager says"}, true
}

func judgeIdle(row map[string]string) (Finding, bool) {
	args := []string{row["pid"], row["application"], row["idle_seconds"], row["last_query"]}
	if strings.Contains(row["state"], "aborted") {
		return Finding{Check: "aborted_session", Weight: 3, Args: args}, true
	}
	return Finding{Weight: 2, Args: args, Fix: "ALTER SYSTEM SET idle_in_transaction_session_timeout = '60s'; SELECT pg_reload_conf();"},
		number(row["idle_seconds"]) > idleTransaction
}

func judgeLong(row map[string]string) (Finding, bool) {
	weight := 1
	if number(row["transaction_seconds"]) > longTransaction {
		weight = 2
	}
	return Finding{Weight: weight, Args: []string{row["pid"], row["application"], row["statement_seconds"], row["query"]}}, true
}

func judgeRates(row map[string]string) (Finding, bool) {
	if number(row["deadlocks"]) > 0 {
		return Finding{Check: "deadlocks", Weight: 2, Args: []string{row["deadlocks"], row["rollback_percent"]}}, true
	}
	if number(row["temp_files"]) > 1000 {
		return Finding{Check: "temp_files", Weight: 1, Args: []string{row["temp_files"], row["temp_bytes"]}}, true
	}
	return Finding{Weight: 2, Args: []string{row["rollback_percent"], row["rollbacks"]}}, number(row["rollback_percent"]) > rollbackShare
}

func judgeRecovery(row map[string]string) (Finding, bool) {
	return Finding{Weight: 2, Args: []string{row["confl_snapshot"], row["confl_lock"]},
		Fix: "ALTER SYSTEM SET hot_standby_feedback = on; SELECT pg_reload_conf();  -- on the replica"}, true
}

func judgeSetting(row map[string]string) (Finding, bool) {
	fix := func(value string) string {
		return "ALTER SYSTEM SET " + row["name"] + " = " + value + "; SELECT pg_reload_conf();"
	}
	f := Finding{Check: "setting_" + row["name"], Weight: 1, Args: []string{row["setting"]}}
	switch row["name"] {
	case "log_line_prefix":
		f.Fix = fix("'%m [%p] %q%u@%d app=%a e=%e x=%x '")
		if !strings.Contains(row["setting"], "%p") && !strings.Contains(row["setting"], "%c") {
			f.Weight = 3
			return f, true
		}
		f.Check = "setting_prefix_state"
		return f, !strings.Contains(row["setting"], "%e")
	case "log_min_error_statement":
		f.Weight, f.Fix = 2, fix("'error'")
		return f, strings.Contains("log fatal panic", row["setting"])
	case "log_min_messages":
		f.Weight, f.Fix = 3, fix("'warning'")
		return f, strings.Contains("log fatal panic", row["setting"])
	case "log_lock_waits", "log_connections":
		f.Fix = fix("'on'")
		return f, row["setting"] == "off"
	case "idle_in_transaction_session_timeout":
		f.Fix = fix("'60s'")
		return f, row["setting"] == "0"
	}
	return f, false
}

func judgeConnections(row map[string]string) (Finding, bool) {
	return Finding{Weight: 3, Args: []string{row["used"], row["allowed"], row["idle"]}}, number(row["percent"]) >= fullPool
}

func judgePredicate(row map[string]string) (Finding, bool) {
	return Finding{Weight: 1, Args: []string{row["table"], row["transactions"]}}, row["locktype"] == "relation"
}

func judgeHot(row map[string]string) (Finding, bool) {
	return Finding{Weight: 1, Args: []string{row["table"], row["updates"], row["hot_percent"], row["fillfactor"]},
			Fix: "ALTER TABLE " + quoteName(row["table"]) + " SET (fillfactor = 80);  -- then VACUUM FULL or pg_repack in a quiet hour"},
		number(row["updates"]) > hotUpdates && number(row["hot_percent"]) < lowHOT
}

func quoteName(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

func judgeStatement(row map[string]string) (Finding, bool) {
	return Finding{Weight: 1, Args: []string{row["max_ms"], row["mean_ms"], row["query"]}}, number(row["max_ms"]) > 5000
}

func judgeUnindexed(row map[string]string) (Finding, bool) {
	return Finding{Weight: 1, Args: []string{row["child"], row["constraint"], row["parent"]}}, true
}

func judgeHorizon(row map[string]string) (Finding, bool) {
	return Finding{Weight: 2, Args: []string{row["who"], row["xmin_age"]}}, number(row["xmin_age"]) > 10_000_000
}
