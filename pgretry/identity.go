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

func identify(c *pgx.ConnConfig) databaseID {
	return databaseID{host: c.Host, port: c.Port, database: c.Database}
}

// poolIDs spares the copy of a pool's configuration on each call.
var poolIDs sync.Map // of weak.Pointer[pgxpool.Pool] to databaseID

// identity is zero for a DB that does not tell where it leads.
func identity(db DB) databaseID {
	switch db := db.(type) {
	case *pgxpool.Pool:
		return identityOfPool(db)
	case interface{ Config() *pgx.ConnConfig }:
		return identify(db.Config())
	case interface{ Unwrap() DB }:
		return identity(db.Unwrap())
	}
	return databaseID{}
}

func identityOfPool(pool *pgxpool.Pool) databaseID {
	key := weak.Make(pool)
	if id, ok := poolIDs.Load(key); ok {
		return id.(databaseID)
	}
	id := identify(pool.Config().ConnConfig)
	poolIDs.Store(key, id)
	runtime.AddCleanup(pool, func(k weak.Pointer[pgxpool.Pool]) { poolIDs.Delete(k) }, key)
	return id
}
