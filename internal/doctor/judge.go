package doctor

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// number reads a column as a number, 0 when it is none.
func number(s string) float64 {
	n, _ := strconv.ParseFloat(s, 64)
	return n
}

// ageText writes a column of seconds as people say it; as it is when it is no number.
func ageText(seconds string) string {
	n, err := strconv.ParseFloat(seconds, 64)
	if err != nil {
		return "?"
	}
	return length(time.Duration(n * float64(time.Second)))
}

// one is the finding when it holds, none otherwise.
func one(f Finding, holds bool) []Finding {
	if !holds {
		return nil
	}
	return []Finding{f}
}

func judgeBlocked(row map[string]string) []Finding {
	by := strings.TrimSpace(row["blocked_by"] + " " + row["prepared"])
	return one(Finding{Weight: 2, Args: []string{row["pid"], row["application"], ageText(row["seconds"]), by, row["query"]}}, by != "")
}

func judgeHead(row map[string]string) []Finding {
	if row["head"] == "0" {
		return []Finding{{Check: "prepared_blocks", Weight: 3, Args: []string{row["waiters"]},
			Fix: "SELECT gid, prepared, owner FROM pg_prepared_xacts ORDER BY prepared;"}}
	}
	fix := "SELECT pg_terminate_backend(" + row["head"] + ");  -- only after asking its owner"
	if row["state"] == "active" {
		fix = "SELECT pg_cancel_backend(" + row["head"] + ");  -- ends its statement; only after asking its owner"
	}
	return []Finding{{Weight: 3, Fix: fix,
		Args: []string{row["head"], row["application"], row["waiters"], row["state"], ageText(row["seconds"]), row["last_query"]}}}
}

func judgePrepared(row map[string]string) []Finding {
	weight := 1
	if number(row["waiters"]) > 0 || number(row["seconds"]) > oldPrepared {
		weight = 3
	}
	gid := strings.ReplaceAll(row["gid"], "'", "''")
	return []Finding{{Weight: weight, Args: []string{row["gid"], row["owner"], ageText(row["seconds"]), row["waiters"]},
		Fix: "ROLLBACK PREPARED '" + gid + "';  -- or COMMIT PREPARED, as its transaction manager says"}}
}

func judgeIdle(row map[string]string) []Finding {
	args := []string{row["pid"], row["application"], ageText(row["idle_seconds"]), row["last_query"]}
	if strings.Contains(row["state"], "aborted") {
		return []Finding{{Check: "aborted_session", Weight: 3, Args: args}}
	}
	return one(Finding{Weight: 2, Args: args}, number(row["idle_seconds"]) > idleTransaction)
}

func judgeLong(row map[string]string) []Finding {
	weight := 1
	if number(row["transaction_seconds"]) > longTransaction {
		weight = 2
	}
	return []Finding{{Weight: weight, Args: []string{row["pid"], row["application"], ageText(row["statement_seconds"]), row["query"]}}}
}

func judgeRates(row map[string]string) []Finding {
	all := fmt.Sprintf("%.0f", number(row["commits"])+number(row["rollbacks"]))
	var out []Finding
	out = append(out, one(Finding{Check: "deadlocks", Weight: 2, Args: []string{row["deadlocks"]}}, number(row["deadlocks"]) > 0)...)
	out = append(out, one(Finding{Weight: 2, Args: []string{row["rollback_percent"], row["rollbacks"], all}},
		number(row["rollback_percent"]) > rollbackShare)...)
	megabytes := fmt.Sprintf("%.0f", number(row["temp_bytes"])/1e6)
	return append(out, one(Finding{Check: "temp_files", Weight: 1, Args: []string{row["temp_files"], megabytes},
		Fix: "ALTER SYSTEM SET log_temp_files = '10MB'; SELECT pg_reload_conf();  -- names the statements; then SET work_mem for them"},
		number(row["temp_files"]) > manyTempFiles)...)
}

func judgeRecovery(row map[string]string) []Finding {
	return []Finding{{Weight: 2, Args: []string{row["confl_snapshot"], row["confl_lock"]}, Fix: sqlFeedback}}
}

// judgeIsolation names who begins above READ COMMITTED.
func judgeIsolation(row map[string]string) []Finding {
	level, isLevel := strings.CutPrefix(row["setting"], "default_transaction_isolation=")
	isLevel = isLevel && row["scope"] != "session"
	return one(Finding{Weight: 1, Args: []string{whose(row), strings.Trim(level, `"'`)}},
		isLevel && strings.Trim(level, `"'`) != "read committed" && level != "read uncommitted")
}

// whose writes who a setting is for: "role@database", with * for all of them.
func whose(row map[string]string) string {
	if row["scope"] == "server" {
		return "*"
	}
	all := func(name string) string {
		if name == "" {
			return "*"
		}
		return name
	}
	return all(row["role"]) + "@" + all(row["database"])
}

func judgeSetting(row map[string]string) []Finding {
	name, value := row["name"], row["setting"]
	fix := func(to string) string {
		return "ALTER SYSTEM SET " + name + " = " + to + "; SELECT pg_reload_conf();"
	}
	f := Finding{Check: "setting_" + name, Weight: 1, Args: []string{value}}
	switch name {
	case "log_line_prefix":
		f.Fix = sqlPrefix
		if !strings.Contains(value, "%p") && !strings.Contains(value, "%c") {
			f.Weight = 3
			return []Finding{f}
		}
		f.Check = "setting_prefix_state"
		return one(f, !strings.Contains(value, "%e"))
	case "log_min_error_statement":
		f.Weight, f.Fix = 2, fix("'error'")
		return one(f, strings.Contains("log fatal panic", value))
	case "log_min_messages":
		f.Weight, f.Fix = 3, fix("'warning'")
		return one(f, strings.Contains("log fatal panic", value))
	case "log_lock_waits", "log_connections":
		f.Fix = fix("'on'")
		return one(f, value == "off" || value == "") // 18 has a list instead of off and on
	case "idle_in_transaction_session_timeout":
		f.Fix = fix("'60s'")
		return one(f, value == "0")
	}
	return nil
}

func judgeConnections(row map[string]string) []Finding {
	return one(Finding{Weight: 3, Args: []string{row["used"], row["allowed"], row["idle"]}}, number(row["percent"]) >= fullPool)
}

func judgePredicate(row map[string]string) []Finding {
	return one(Finding{Weight: 1, Args: []string{row["table"], row["transactions"]}}, row["locktype"] == "relation")
}

func judgePredicatePool(row map[string]string) []Finding {
	return one(Finding{Weight: 2, Args: []string{row["used"], row["pool"]},
		Fix: "ALTER SYSTEM SET max_pred_locks_per_transaction = 256;  -- needs a restart"}, number(row["used"]) > number(row["pool"])/2)
}

func judgeHot(row map[string]string) []Finding {
	return one(Finding{Weight: 1, Args: []string{row["table"], row["updates"], row["hot_percent"], row["fillfactor"]},
		Fix: "ALTER TABLE " + row["table"] + " SET (fillfactor = 80);  -- then VACUUM FULL or pg_repack in a quiet hour"},
		number(row["updates"]) > hotUpdates && number(row["hot_percent"]) < lowHOT)
}

// judgeStatement takes a maximum far above the mean for waiting: the same statement is fast when nobody is in its way.
func judgeStatement(row map[string]string) []Finding {
	f := Finding{Weight: 1, Args: []string{row["max_ms"], row["mean_ms"], row["query"]}}
	if number(row["max_ms"]) > 20*number(row["mean_ms"]) {
		f.Check = "statements_wait"
	}
	return one(f, number(row["max_ms"]) > 5000)
}

func judgeUnindexed(row map[string]string) []Finding {
	return []Finding{{Weight: 1, Args: []string{row["child"], row["constraint"], row["parent"]},
		Fix: "CREATE INDEX CONCURRENTLY ON " + row["child"] + " (" + row["columns"] + ");"}}
}

func judgeRoom(row map[string]string) []Finding {
	return one(Finding{Weight: 1, Args: []string{row["table"], row["bytes_per_row"], row["expected_bytes_per_row"]},
		Fix: "VACUUM (VERBOSE) " + row["table"] + ";  -- says what keeps dead rows; VACUUM FULL or pg_repack gives the room back"},
		number(row["pages"]) > manyPages && number(row["expected_bytes_per_row"]) > 0 &&
			number(row["bytes_per_row"]) > 5*number(row["expected_bytes_per_row"]))
}

func judgeHorizon(row map[string]string) []Finding {
	return one(Finding{Weight: 2, Args: []string{row["who"], row["xmin_age"]}}, number(row["xmin_age"]) > 10_000_000)
}
