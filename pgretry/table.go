package pgretry

import (
	"errors"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// table is the table that the latest attempt failed on: as the error tells, else as the failed statement does.
func (c *call) table(err error) string {
	if e, ok := errors.AsType[*pgconn.PgError](err); ok && e.TableName != "" {
		return strings.TrimPrefix(e.SchemaName+"."+e.TableName, ".")
	}
	if c.rec == nil {
		return ""
	}
	return tableOf(c.rec.sql)
}

// tableOf finds the table that an SQL statement locks or writes, else the one it reads first; "" if it finds none.
// PostgreSQL does not name the table in 40001, so the statement must do.
func tableOf(sql string) string {
	words := strings.FieldsFunc(sql, func(r rune) bool {
		return strings.ContainsRune(" \t\r\n(),;", r)
	})
	for i, w := range words {
		if !strings.Contains(w, `"`) {
			words[i] = strings.ToLower(w)
		}
	}
	if len(words) > 1 && words[0] == "lock" {
		rest := words[1:]
		for len(rest) > 1 && (rest[0] == "table" || rest[0] == "only") {
			rest = rest[1:]
		}
		return rest[0]
	}
	read := ""
	for i := 0; i+1 < len(words); i++ {
		next := words[i+1]
		switch words[i] {
		case "into":
			return next
		case "update":
			if next == "only" && i+2 < len(words) {
				next = words[i+2]
			}
			if next != "set" && (i == 0 || words[i-1] != "for" && words[i-1] != "key" && words[i-1] != "do") {
				return next
			}
		case "from":
			if i > 0 && words[i-1] == "delete" {
				return next
			}
			if read == "" {
				read = next
			}
		}
	}
	return read
}
