package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/concord-home/concord"
)

// attempted has every attempt of fn be a span of its own beneath that of ctx,
// so that its statements are told from those of the next.
func (db *DB) attempted(ctx context.Context, fn func(context.Context, pgx.Tx) error) func(context.Context, pgx.Tx) error {
	if db.tracer.Parent(ctx) == "" {
		return fn
	}
	attempt := 0
	return func(ctx context.Context, tx pgx.Tx) error {
		attempt++
		ctx, span := db.tracer.Child(ctx, "attempt")
		span.SetNumber("concord.attempt", attempt)
		err := fn(ctx, tx)
		span.End(err, "the attempt failed")
		return err
	}
}

// maxName is what PostgreSQL keeps of an application_name.
const maxName = 63

// named has fn run under the correlation id of ctx: until the transaction ends
// the session's application_name is concord/<id>, in pg_stat_activity and in
// every line that the server logs. That costs one round trip, and work without
// an id, as all of the live ingest is, pays nothing. A comment in the SQL would
// make every statement a new one for the cache of prepared statements.
func named(ctx context.Context, fn func(context.Context, pgx.Tx) error) func(context.Context, pgx.Tx) error {
	id := concord.CorrelationID(ctx)
	if id == "" {
		return fn
	}
	return func(ctx context.Context, tx pgx.Tx) error {
		name := tx.Conn().Config().RuntimeParams["application_name"] + "/" + id
		if _, err := tx.Exec(ctx, `select set_config('application_name', $1, true)`, name[:min(len(name), maxName)]); err != nil {
			return err
		}
		return fn(ctx, tx)
	}
}
