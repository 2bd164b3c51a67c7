package pgretry

import (
	"runtime"
	"sync"
	"weak"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// databaseID tells databases apart.
type databaseID struct {
	host, database string
	port           uint16
}

// roleID is a database as one role sees it.
type roleID struct {
	databaseID
	user, searchPath string
}

func roleOf(c *pgx.ConnConfig) *roleID {
	params := c.RuntimeParams
	host := c.Host
	if host == "127.0.0.1" || host == "::1" {
		host = "localhost"
	}
	return &roleID{
		databaseID: databaseID{host: host, port: c.Port, database: c.Database},
		user:       c.User,
		searchPath: params["search_path"] + params["options"],
	}
}

// poolIDs spares the copy of a pool's configuration on each call.
var poolIDs sync.Map // of weak.Pointer[pgxpool.Pool] to *roleID

// identify returns a zero role for a DB that does not tell where it leads. It returns the same pointer for the same pool.
func identify(db DB) *roleID {
	switch db := db.(type) {
	case *pgxpool.Pool:
		return identityOfPool(db)
	case interface{ Config() *pgxpool.Config }: // has a pool embedded
		return roleOf(db.Config().ConnConfig)
	case interface{ Config() *pgx.ConnConfig }:
		return roleOf(db.Config())
	case interface{ Conn() *pgx.Conn }:
		return roleOf(db.Conn().Config())
	case interface{ Unwrap() DB }:
		return identify(db.Unwrap())
	}
	return &roleID{}
}

func identityOfPool(pool *pgxpool.Pool) *roleID {
	key := weak.Make(pool)
	if id, ok := poolIDs.Load(key); ok {
		return id.(*roleID)
	}
	id := roleOf(pool.Config().ConnConfig)
	poolIDs.Store(key, id)
	runtime.AddCleanup(pool, func(k weak.Pointer[pgxpool.Pool]) { poolIDs.Delete(k) }, key)
	return id
}

// single is the connection that db is, nil if it has several.
func single(db DB) *pgx.Conn {
	switch db := base(db).(type) {
	case *pgx.Conn:
		return db
	case *pgxpool.Conn:
		return db.Conn()
	}
	return nil
}

// isConn tells that db is a connection itself, which stays with the call.
func isConn(db DB) bool {
	switch db.(type) {
	case *pgx.Conn, *pgxpool.Conn:
		return true
	}
	return false
}

// base is the DB below wrappers, for pgretry's own statements.
func base(db DB) DB {
	for {
		wrapper, ok := db.(interface{ Unwrap() DB })
		if !ok {
			return db
		}
		db = wrapper.Unwrap()
	}
}
