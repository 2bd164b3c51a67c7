package soak_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/concord-home/concord/pgretry"
	"github.com/concord-home/concord/pgretry/internal/pgtest"
)

func isUnknown(err error) bool { return errors.Is(err, pgretry.ErrCommitUnknown) }

// access is one operation on a register: a read, or an addition that returns the value before it.
type access struct {
	key, add int
}

// register is the sequential specification: each key holds a number.
var register = porcupine.Model{
	Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
		byKey := map[int][]porcupine.Operation{}
		for _, op := range history {
			key := op.Input.(access).key
			byKey[key] = append(byKey[key], op)
		}
		parts := make([][]porcupine.Operation, 0, len(byKey))
		for _, part := range byKey {
			parts = append(parts, part)
		}
		return parts
	},
	Init: func() any { return 0 },
	Step: func(state, input, output any) (bool, any) {
		before := state.(int)
		return output.(int) == before, before + input.(access).add
	},
}

// TestHistoryIsLinearizable records what 20 workers read and wrote on 5 keys while connections are cut, and asks
// porcupine whether one order explains it.
func TestHistoryIsLinearizable(t *testing.T) {
	pool := pgtest.Pool(t, 20)
	proxy := pgtest.NewProxy(t, pgtest.Addr(t))
	pgtest.Exec(t, pool, pgretry.MarkerMigration, `create table register (key int primary key, n int not null)`,
		`insert into register select i, 0 from generate_series(0, 4) i`)
	config := pool.Config()
	config.ConnConfig.Host, config.ConnConfig.Port = "127.0.0.1", uint16(proxy.Addr().Port)
	through := pgtest.Connect(t, config)
	runner := pgretry.New(pgretry.WithIsolation(pgx.Serializable), pgretry.WithMaxAttempts(-1))

	var mu sync.Mutex
	var history []porcupine.Operation
	begin := time.Now()
	var wg sync.WaitGroup
	for client := range 20 {
		wg.Go(func() {
			for n := range 25 {
				if client == 0 {
					proxy.Arm(pgtest.Cut{Answer: n%2 == 0, After: rand.IntN(300)})
				}
				in := access{key: rand.IntN(5), add: rand.IntN(3)}
				call := time.Since(begin)
				var before int
				err := runner.Do(context.Background(), through, func(ctx context.Context, tx pgx.Tx) error {
					if err := tx.QueryRow(ctx, `select n from register where key = $1`, in.key).Scan(&before); err != nil || in.add == 0 {
						return err
					}
					_, err := tx.Exec(ctx, `update register set n = $2 where key = $1`, in.key, before+in.add)
					return err
				})
				op := porcupine.Operation{ClientId: client, Input: in, Output: before, Call: int64(call), Return: int64(time.Since(begin))}
				mu.Lock()
				if err == nil {
					history = append(history, op)
				} else {
					t.Errorf("%v", err)
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	require.Len(t, history, 500)
	require.True(t, porcupine.CheckOperations(register, history), "no order explains the history")
}
