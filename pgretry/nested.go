package pgretry

import (
	"context"
	"reflect"

	"github.com/jackc/pgx/v5"
)

type withinKey struct{}

// within marks the context of a closure with the database it works on.
type within struct {
	db    DB
	conn  *pgx.Conn
	outer *within
}

func withinCall(ctx context.Context, db DB, conn *pgx.Conn) context.Context {
	outer, _ := ctx.Value(withinKey{}).(*within)
	return context.WithValue(ctx, withinKey{}, &within{db: db, conn: conn, outer: outer})
}

// isNested tells whether ctx belongs to a closure on the same database as db.
func isNested(ctx context.Context, db DB) bool {
	w, _ := ctx.Value(withinKey{}).(*within)
	for ; w != nil; w = w.outer {
		if sameDB(w.db, db) || roleOf(w.conn.Config()).databaseID == identity(db) {
			return true
		}
	}
	return false
}

func sameDB(a, b DB) bool {
	return reflect.TypeOf(a) == reflect.TypeOf(b) && reflect.TypeOf(a).Comparable() && a == b
}
