package ledger_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/concord-home/concord"
	"github.com/concord-home/concord/internal/ledger"
)

// store is a LedgerStore in memory that can be switched off.
type store struct {
	rows map[string][]concord.LedgerMinute
	down error
}

func (s *store) AddLedger(_ context.Context, instance string, minutes []concord.LedgerMinute) error {
	if s.down == nil {
		s.rows[instance] = append(s.rows[instance], minutes...)
	}
	return s.down
}

func (s *store) FindLedger(_ context.Context, since time.Time, except string) ([]concord.LedgerMinute, error) {
	type key struct {
		minute   time.Time
		endpoint string
	}
	sums := map[key]concord.LedgerMinute{}
	for instance, minutes := range s.rows {
		for _, m := range minutes {
			if instance == except || m.Minute.Before(since) {
				continue
			}
			sum := sums[key{m.Minute, m.Endpoint}]
			sum.Minute, sum.Endpoint = m.Minute, m.Endpoint
			sum.Add(m)
			sums[key{m.Minute, m.Endpoint}] = sum
		}
	}
	var list []concord.LedgerMinute
	for _, m := range sums {
		list = append(list, m)
	}
	return list, s.down
}

func (s *store) PruneLedger(context.Context, time.Time) error { return s.down }

func TestLedger(t *testing.T) {
	t.Parallel()
	type bundle struct {
		*ledger.Ledger
		store *store
		now   time.Time
	}
	setup := func() *bundle {
		b := &bundle{store: &store{rows: map[string][]concord.LedgerMinute{}}, now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
		b.Ledger = ledger.New(ledger.Options{Store: b.store, Now: func() time.Time { return b.now }})
		return b
	}
	// write counts transactions of which some met one conflict each.
	write := func(l *ledger.Ledger, endpoint string, all, conflicted int) {
		for i := range all {
			m := concord.LedgerMinute{Endpoint: endpoint, Transactions: 1}
			if i < conflicted {
				l.Failure(endpoint, false)
				m.Conflicted, m.Retried, m.Retries = 1, 1, 1
			}
			l.Transaction(m)
		}
	}

	for _, c := range []struct {
		name            string
		all, conflicted int
		want            concord.ConflictStatus
	}{
		{"nothing", 0, 0, concord.ConflictsHealthy},
		{"exactly 5 %", 100, 5, concord.ConflictsHealthy},
		{"above 5 %", 100, 6, concord.ConflictsDegraded},
		{"exactly 20 %", 100, 20, concord.ConflictsDegraded},
		{"above 20 %", 100, 21, concord.ConflictsUnhealthy},
		{"too few to judge", 19, 19, concord.ConflictsHealthy},
		{"just enough to judge", 20, 20, concord.ConflictsUnhealthy},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			b := setup()
			write(b.Ledger, "get_areas", c.all, c.conflicted)
			require.Equal(t, c.want, b.Health().Status)
		})
	}
	t.Run("TheWindowPasses", func(t *testing.T) {
		t.Parallel()
		b := setup()
		write(b.Ledger, "get_areas", 50, 50)
		b.now = b.now.Add(59 * time.Minute)
		require.Equal(t, concord.ConflictsUnhealthy, b.Health().Status)
		b.now = b.now.Add(2 * time.Minute)
		require.Equal(t, concord.ConflictsHealthy, b.Health().Status)
		require.Len(t, b.Minutes(b.now.Add(-24*time.Hour)), 1, "the day still has it")
	})
	t.Run("NamesTheWorstEndpoint", func(t *testing.T) {
		t.Parallel()
		b := setup()
		write(b.Ledger, "state_changed", 100, 3)
		write(b.Ledger, "get_areas", 10, 5)
		h := b.Health()
		require.Equal(t, "get_areas", h.WorstEndpoint)
		require.InDelta(t, 8.0/110, h.FailureRate, 1e-9)
		require.InDelta(t, 1, h.AverageRetries, 1e-9)
		require.True(t, h.LastFailure.Equal(b.now))
	})
	t.Run("ARestartForgetsNothing", func(t *testing.T) {
		t.Parallel()
		b := setup()
		write(b.Ledger, "get_areas", 50, 11)
		require.NoError(t, b.Save(t.Context()))
		write(b.Ledger, "get_areas", 50, 0)
		require.NoError(t, b.Save(t.Context()))
		require.NoError(t, b.Read(t.Context()))
		before := b.Health()
		again := ledger.New(b.Options)
		require.NoError(t, again.Read(t.Context()))
		require.NoError(t, again.Read(t.Context()), "reading twice counts once")
		require.Equal(t, before, again.Health())
		require.Equal(t, concord.ConflictsDegraded, again.Health().Status)
	})
	t.Run("CountsWaitWhileTheDatabaseIsAway", func(t *testing.T) {
		t.Parallel()
		b := setup()
		b.store.down = errors.New("away")
		write(b.Ledger, "get_areas", 30, 3)
		require.Error(t, b.Save(t.Context()))
		write(b.Ledger, "get_areas", 10, 1)
		require.Error(t, b.Save(t.Context()))
		b.store.down = nil
		require.NoError(t, b.Save(t.Context()))
		again := ledger.New(b.Options)
		require.NoError(t, again.Read(t.Context()))
		require.EqualValues(t, 40, again.Health().Transactions)
		require.EqualValues(t, 4, again.Health().Failures)
	})
}
