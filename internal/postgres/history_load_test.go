package postgres_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/concord-home/concord"
	"github.com/concord-home/concord/internal/postgres"
)

// pause holds the first reader of a table up once it has its answer.
type pause struct {
	table string
	held  atomic.Bool
	read  chan struct{}
	goOn  chan struct{}
}

type pausedSQL struct{}

func (p *pause) TraceQueryStart(ctx context.Context, _ *pgx.Conn, data pgx.TraceQueryStartData) context.Context {
	return context.WithValue(ctx, pausedSQL{}, data.SQL)
}

func (p *pause) TraceQueryEnd(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryEndData) {
	if sql, _ := ctx.Value(pausedSQL{}).(string); strings.Contains(sql, "from "+p.table) && p.held.CompareAndSwap(false, true) {
		close(p.read)
		<-p.goOn
	}
}

// paused opens the database once more, for who is to be held up at a table, and
// returns what lets that go on.
func paused(t *testing.T, b *bundle, table string, deadband ...concord.DeadbandRule) (*postgres.DB, *pause) {
	t.Helper()
	p := &pause{table: table, read: make(chan struct{}), goOn: make(chan struct{})}
	db, err := postgres.Open(t.Context(), postgres.Options{URL: b.conn.Config().ConnString(), Deadband: deadband, Statements: p})
	require.NoError(t, err)
	t.Cleanup(db.Close)
	return db, p
}

// loading returns a Concord of which the upkeep is held up within its first load
// of what a table has, and what lets that go on and waits for its end.
func loading(t *testing.T, b *bundle, table string) (goOn func()) {
	t.Helper()
	rule, err := concord.ParseDeadbandRule("sensor.*_power: absolute=5")
	require.NoError(t, err)
	db, p := paused(t, b, table, rule)
	b.db = db
	done := make(chan error)
	go func() {
		_, err := db.StoreHeld(context.Background(), b.home, time.Now())
		done <- err
	}()
	<-p.read
	return func() { close(p.goOn); require.NoError(t, <-done) }
}

// The upkeep loads what the database has, beside the writer.
func TestALoadThatTookLongChangesNothing(t *testing.T) {
	t.Parallel()

	t.Run("OfTheNumbers", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		b.write(t, 100, b.at("sensor.x", "x1", 1, 1))
		b.syncRegistry(t, 2, map[string]string{"sensor.x": "r1"}, b.at("sensor.x", "x1", 1, 2))
		goOn := loading(t, b, "history_entity h")
		b.write(t, 101, b.gone("sensor.x", 3), b.at("sensor.old", "x2", 4, 4), b.at("sensor.x", "n1", 6, 6))
		goOn()
		b.write(t, 102, b.at("sensor.x", "n2", 7, 7))
		b.syncRegistry(t, 8, map[string]string{"sensor.old": "r1", "sensor.x": "r2"}, b.at("sensor.old", "x2", 4, 8), b.at("sensor.x", "n2", 7, 8))
		require.Equal(t, []string{"x1", "x2"}, b.statesOf(t, "sensor.old"))
		require.Equal(t, []string{"n1", "n2"}, b.statesOf(t, "sensor.x"))
	})

	t.Run("OfWhatIsInDoubtSince", func(t *testing.T) {
		t.Parallel()
		b := deadbands(t, "sensor.*_power: absolute=5")()
		other := *b
		b.write(t, 100, b.at("sensor.a_power", "100", 0, 1))
		goOn := loading(t, b, "entity_state o")
		message := b.at("sensor.a_power", "102", 3, 3)
		require.Equal(t, 1, other.write(t, 101, message).Held)
		require.True(t, b.write(t, 101, message).Skipped)
		goOn()
		n, err := b.db.StoreHeld(t.Context(), b.home, time.Now().Add(time.Hour))
		require.NoError(t, err)
		require.Equal(t, 1, n, "the last value arrives")
	})
}
