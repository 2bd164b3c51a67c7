package pgretry

import (
	"context"
	"runtime"
	"sync"
	"weak"

	"github.com/jackc/pgx/v5/pgxpool"
)

// seats bound how many connections of each pool a Runner's ordinary calls use at once.
type seats struct {
	mu    sync.Mutex
	pools map[weak.Pointer[pgxpool.Pool]]chan struct{}
}

// sit waits for a seat on the pool, of which reserve connections are left to others. Call the result to stand up.
func (s *seats) sit(ctx context.Context, pool *pgxpool.Pool, reserve int) (func(), error) {
	chairs := s.of(pool, reserve)
	select {
	case chairs <- struct{}{}:
		return func() { <-chairs }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (s *seats) of(pool *pgxpool.Pool, reserve int) chan struct{} {
	key := weak.Make(pool)
	s.mu.Lock()
	defer s.mu.Unlock()
	chairs := s.pools[key]
	if chairs == nil {
		if s.pools == nil {
			s.pools = map[weak.Pointer[pgxpool.Pool]]chan struct{}{}
		}
		chairs = make(chan struct{}, max(1, int(pool.Stat().MaxConns())-reserve))
		s.pools[key] = chairs
		runtime.AddCleanup(pool, s.forget, key)
	}
	return chairs
}

func (s *seats) forget(key weak.Pointer[pgxpool.Pool]) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.pools, key)
}

// seat is [seats.sit] as the policy has it. An attempt on a lease's connection needs none: the lease has one.
func (c *call) seat(ctx context.Context) (func(), error) {
	if t := c.turn.ticket; t != nil && t.lease != nil {
		return func() {}, nil
	}
	pool, ok := c.db.(*pgxpool.Pool)
	if !ok || c.policy.Reserve <= 0 || c.policy.UseReserve {
		return func() {}, nil
	}
	return c.runner.seats.sit(ctx, pool, c.policy.Reserve)
}
