package doctor

// thresholds of the live checks.
const (
	longTransaction = 60   // seconds
	idleTransaction = 10   // seconds
	oldPrepared     = 60   // seconds
	rollbackShare   = 5    // percent
	fullPool        = 85   // percent of max_connections
	hotUpdates      = 1000 // updates of a table before its HOT share counts
	lowHOT          = 80   // percent
	manyTempFiles   = 100  // since the statistics were reset
	manyPages       = 128  // a smaller table needs no care
)

// checks are asked in this order. Every statement reads views of the catalogue only.
var checks = []check{
	{name: "blocked", sql: `WITH w AS MATERIALIZED (SELECT * FROM pg_stat_activity WHERE wait_event_type = 'Lock')
		SELECT w.pid, w.usename AS "user", coalesce(w.application_name, '') AS application, w.wait_event_type || '/' || w.wait_event AS wait,
		round(extract(epoch FROM clock_timestamp() - coalesce((to_jsonb(l) ->> 'waitstart')::timestamptz, w.state_change))::numeric, 1) AS seconds,
		array_to_string(array_remove(pg_blocking_pids(w.pid), 0), ' ') AS blocked_by, coalesce(p.gid, '') AS prepared, left(w.query, 120) AS query
		FROM w LEFT JOIN pg_locks l ON l.pid = w.pid AND NOT l.granted
		LEFT JOIN pg_prepared_xacts p ON p.transaction = l.transactionid ORDER BY 5 DESC LIMIT 50`, judge: judgeBlocked},
	{name: "chain_heads", sql: `WITH RECURSIVE e AS (SELECT a.pid, b.b FROM pg_stat_activity a, LATERAL unnest(pg_blocking_pids(a.pid)) b(b)
			WHERE a.wait_event_type = 'Lock'),
		chain(head, pid) AS (SELECT b, pid FROM e WHERE b NOT IN (SELECT pid FROM e) UNION SELECT c.head, e.pid FROM chain c JOIN e ON e.b = c.pid)
		SELECT c.head, count(*) AS waiters, coalesce(a.state, '') AS state,
		round(extract(epoch FROM clock_timestamp() - coalesce(a.xact_start, a.state_change))::numeric, 1) AS seconds,
		coalesce(a.application_name, '') AS application, coalesce(left(a.query, 120), '') AS last_query
		FROM chain c LEFT JOIN pg_stat_activity a ON a.pid = c.head GROUP BY 1, 3, 4, 5, 6 ORDER BY 2 DESC`, judge: judgeHead},
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
		AND wait_event_type IS DISTINCT FROM 'Lock' AND clock_timestamp() - query_start > interval '5 seconds' ORDER BY query_start`, judge: judgeLong},
	{name: "rates", sql: `SELECT datname AS database, xact_commit AS commits, xact_rollback AS rollbacks,
		coalesce(round(100.0 * xact_rollback / nullif(xact_commit + xact_rollback, 0), 2), 0) AS rollback_percent,
		deadlocks, conflicts AS recovery_conflicts, temp_files, temp_bytes, coalesce(stats_reset::text, '') AS since
		FROM pg_stat_database WHERE datname = current_database()`, judge: judgeRates},
	{name: "recovery_conflicts", sql: `SELECT datname AS database, confl_lock, confl_snapshot, confl_bufferpin, confl_deadlock
		FROM pg_stat_database_conflicts WHERE datname = current_database()
		AND confl_lock + confl_snapshot + confl_bufferpin + confl_deadlock > 0`, judge: judgeRecovery},
	{name: "isolation", sql: `SELECT CASE WHEN source IN ('database', 'user', 'database user', 'client') THEN 'session' ELSE 'server' END AS scope, '' AS database, '' AS role, 'default_transaction_isolation=' || setting AS setting
		FROM pg_settings WHERE name = 'default_transaction_isolation'
		UNION ALL SELECT 'override', coalesce(d.datname, ''), coalesce(r.rolname, ''), c FROM pg_db_role_setting s
		LEFT JOIN pg_database d ON d.oid = setdatabase LEFT JOIN pg_roles r ON r.oid = setrole, unnest(setconfig) c
		WHERE c ~ '^(default_transaction_isolation|lock_timeout|statement_timeout|idle_in_transaction_session_timeout|deadlock_timeout)='`, judge: judgeIsolation},
	{name: "settings", sql: `SELECT name, CASE source WHEN 'session' THEN reset_val ELSE setting END AS setting, coalesce(unit, '') AS unit, source FROM pg_settings WHERE name IN (
		'log_line_prefix', 'log_min_messages', 'log_min_error_statement', 'log_error_verbosity', 'log_lock_waits', 'deadlock_timeout',
		'log_destination', 'logging_collector', 'lc_messages', 'log_timezone', 'lock_timeout', 'statement_timeout',
		'idle_in_transaction_session_timeout', 'log_min_duration_statement', 'log_statement', 'log_connections', 'log_disconnections',
		'max_prepared_transactions', 'max_pred_locks_per_transaction', 'max_connections')
		AND NOT (name = 'log_line_prefix' AND current_setting('log_destination') !~ 'stderr|syslog') ORDER BY 1`, judge: judgeSetting},
	{name: "connections", sql: `SELECT count(*) AS used, current_setting('max_connections')::int AS allowed,
		round(100.0 * count(*) / current_setting('max_connections')::int, 0) AS percent,
		count(*) FILTER (WHERE state = 'idle') AS idle, count(*) FILTER (WHERE state = 'active') AS active,
		count(*) FILTER (WHERE state LIKE 'idle in transaction%') AS idle_in_transaction
		FROM pg_stat_activity WHERE backend_type = 'client backend'`, judge: judgeConnections},
	{name: "predicate_locks", sql: `SELECT relation::regclass AS table, locktype, count(*) AS locks, count(DISTINCT virtualtransaction) AS transactions
		FROM pg_locks WHERE mode = 'SIReadLock' GROUP BY 1, 2 ORDER BY 3 DESC LIMIT 10`, judge: judgePredicate},
	{name: "predicate_pool", sql: `SELECT count(*) AS used, current_setting('max_pred_locks_per_transaction')::bigint
		* (current_setting('max_connections')::bigint + current_setting('max_prepared_transactions')::bigint) AS pool
		FROM pg_locks WHERE mode = 'SIReadLock'`, judge: judgePredicatePool},
	{name: "hot_tables", sql: `SELECT s.relid::regclass AS table, n_tup_upd AS updates, n_tup_hot_upd AS hot_updates,
		coalesce(round(100.0 * n_tup_hot_upd / nullif(n_tup_upd, 0), 1), 100) AS hot_percent, n_live_tup AS live, n_dead_tup AS dead,
		coalesce((SELECT option_value FROM pg_options_to_table(c.reloptions) WHERE option_name = 'fillfactor'), '100') AS fillfactor,
		coalesce(last_autovacuum::text, '') AS last_autovacuum
		FROM pg_stat_user_tables s JOIN pg_class c ON c.oid = s.relid WHERE n_tup_upd > 0 ORDER BY n_tup_upd DESC LIMIT 10`, judge: judgeHot},
	{name: "statements", needs: "f_no_statements", sql: `SELECT calls, round(mean_exec_time::numeric, 2) AS mean_ms,
		round(max_exec_time::numeric, 1) AS max_ms, round(stddev_exec_time::numeric, 1) AS deviation_ms, rows, left(regexp_replace(query, '\s+', ' ', 'g'), 120) AS query FROM pg_stat_statements
		WHERE query ~* '^\s*(update|delete|insert|select .* for )' OR max_exec_time > 5000 ORDER BY max_exec_time * calls DESC LIMIT 8`, judge: judgeStatement},
	{name: "unindexed_keys", sql: `SELECT conrelid::regclass AS child, conname AS constraint, confrelid::regclass AS parent,
		(SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY x.n) FROM unnest(k.conkey) WITH ORDINALITY x(attnum, n)
			JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = x.attnum) AS columns FROM pg_constraint k
		WHERE contype = 'f' AND NOT EXISTS (SELECT 1 FROM pg_index i WHERE i.indrelid = k.conrelid
		AND (i.indkey::int2[])[0:cardinality(k.conkey)-1] @> k.conkey) ORDER BY 1 LIMIT 50`, judge: judgeUnindexed},
	{name: "room", sql: `SELECT c.oid::regclass AS table, c.reltuples::bigint AS rows, c.relpages AS pages,
		round((c.relpages * current_setting('block_size')::numeric / c.reltuples::numeric), 0) AS bytes_per_row,
		(SELECT sum(avg_width) + 28 FROM pg_stats st WHERE st.schemaname = n.nspname AND st.tablename = c.relname) AS expected_bytes_per_row
		FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE c.relkind = 'r' AND c.reltuples > 0 AND n.nspname !~ '^(pg_|information_schema$)' ORDER BY c.relpages DESC LIMIT 20`, judge: judgeRoom},
	{name: "horizon", sql: `SELECT 'backend ' || pid AS who, age(backend_xmin) AS xmin_age FROM pg_stat_activity
		WHERE backend_xmin IS NOT NULL AND pid <> pg_backend_pid()
		UNION ALL SELECT 'prepared ' || gid, age(transaction) FROM pg_prepared_xacts
		UNION ALL SELECT 'slot ' || slot_name, age(xmin) FROM pg_replication_slots WHERE xmin IS NOT NULL ORDER BY 2 DESC NULLS LAST LIMIT 5`,
		judge: judgeHorizon},
}
