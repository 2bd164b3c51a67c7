package pgretry

import (
	"context"
	"reflect"
	"sync/atomic"

	"github.com/jackc/pgx/v5"
)

type withinKey struct{}

// within is the context of a closure. It tells which database the closure works on.
type within struct {
	context.Context
	db    DB
	conn  *pgx.Conn
	over  *atomic.Bool // the closure has returned
	outer *within
}

// Value returns w itself to pgretry.
func (w *within) Value(key any) any {
	if key == (withinKey{}) {
		return w
	}
	return w.Context.Value(key)
}

// isNested tells whether ctx belongs to a closure on the same database as db.
func isNested(ctx context.Context, db DB) bool {
	w, _ := ctx.Value(withinKey{}).(*within)
	return w != nil && w.covers(db, identify(db))
}

// covers tells whether w, or a closure around it, is at work on the database of db, whose role is id.
func (w *within) covers(db DB, id *roleID) bool {
	for ; w != nil; w = w.outer {
		if w.over.Load() {
			continue
		}
		if sameDB(w.db, db) || roleOf(w.conn.Config()).databaseID == id.databaseID {
			return true
		}
	}
	return false
}

func sameDB(a, b DB) bool {
	return reflect.TypeOf(a) == reflect.TypeOf(b) && reflect.TypeOf(a).Comparable() && a == b
}
