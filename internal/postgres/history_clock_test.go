package postgres_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/concord-home/concord"
)

func TestClockBetweenConnections(t *testing.T) {
	t.Parallel()
	// Heard: a slow entity and, an hour later, a fast one.
	begin := func(t *testing.T) (*bundle, func(at int64, states ...concord.Record)) {
		t.Helper()
		b := setup(t)
		heard := []concord.Record{b.at("sensor.slow", "1", 0, 1), b.at("sensor.other", "1", 0, 2), b.at("sensor.fast", "1", 3600*second, 3)}
		_, err := b.db.WriteEvents(t.Context(), b.home, heard, 100)
		require.NoError(t, err)
		require.NoError(t, b.db.OpenConnection(t.Context(), b.home, 101))
		return b, func(at int64, states ...concord.Record) {
			t.Helper()
			for _, s := range states {
				s.State.Position.Epoch = 101
			}
			_, err := b.db.WriteStates(t.Context(), b.home, states, uint64(at)) //nolint:gosec // small
			require.NoError(t, err)
		}
	}
	epoch := func(t *testing.T, b *bundle) int {
		t.Helper()
		return b.count(t, `select clock_epoch from spool_position`)
	}

	t.Run("OldStatesProveNoStep", func(t *testing.T) {
		t.Parallel()
		b, states := begin(t)
		states(102, b.at("sensor.slow", "1", 0, 1), b.at("sensor.other", "1", 0, 1)) // the first of two messages, or the fast one is gone
		require.Zero(t, epoch(t, b))
		states(103, b.at("sensor.fast", "2", 7200*second, 1))
		require.Zero(t, epoch(t, b))
	})

	t.Run("WhatWasNotHeardBeforeWhatWasProvesOne", func(t *testing.T) {
		t.Parallel()
		b, states := begin(t)
		states(102, b.at("sensor.slow", "2", 60*second, 1), b.at("sensor.fast", "1", 3600*second, 1))
		require.Equal(t, 1, epoch(t, b), "although one state is as it was")
		states(103, b.at("sensor.other", "2", 50*second, 1))
		require.Equal(t, 1, epoch(t, b), "the same step")
		after := b.at("sensor.slow", "3", 70*second, 2)
		after.State.Position.Epoch = 101
		_, err := b.db.WriteEvents(t.Context(), b.home, []concord.Record{after}, 104)
		require.NoError(t, err)
		require.Equal(t, 3, b.count(t, `select count(*) from history where clock_epoch = 1`))
	})
}
