package app_test

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/concord-home/concord"
	"github.com/concord-home/concord/internal/app"
)

func TestRounds(t *testing.T) {
	t.Parallel()

	t.Run("WhoComesMeanwhileSharesTheNext", func(t *testing.T) {
		t.Parallel()
		begun, end := make(chan struct{}), make(chan int)
		r := app.NewRounds(func(context.Context) ([]concord.StageCounts, error) {
			begun <- struct{}{}
			return []concord.StageCounts{{Updated: <-end}}, nil
		})
		waits := []func() ([]concord.StageCounts, error){r.Enter(t.Context())}
		<-begun
		for range 10 {
			waits = append(waits, r.Enter(t.Context()))
		}
		end <- 1
		<-begun
		end <- 2
		for i, wait := range waits {
			counts, err := wait()
			require.NoError(t, err)
			require.Equal(t, min(i, 1)+1, counts[0].Updated)
		}
	})

	t.Run("OneThatGivesUpDoesNotEndItForOthers", func(t *testing.T) {
		t.Parallel()
		begun, end := make(chan struct{}), make(chan struct{})
		r := app.NewRounds(func(ctx context.Context) ([]concord.StageCounts, error) {
			close(begun)
			<-end
			return nil, ctx.Err()
		})
		ctx, cancel := context.WithCancel(t.Context())
		given := make(chan error, 1)
		go func() {
			_, err := r.Join(ctx)
			given <- err
		}()
		<-begun
		cancel()
		require.ErrorIs(t, <-given, context.Canceled)
		close(end)
	})

	t.Run("AnErrorIsItsRoundsOnly", func(t *testing.T) {
		t.Parallel()
		failed := errors.New("no")
		fail := true
		r := app.NewRounds(func(context.Context) ([]concord.StageCounts, error) {
			if fail {
				fail = false
				return nil, failed
			}
			return nil, nil
		})
		_, err := r.Join(t.Context())
		require.ErrorIs(t, err, failed)
		_, err = r.Join(t.Context())
		require.NoError(t, err)
	})
}
