package pgretry

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// call is one Do: its attempts and what they met.
type call struct {
	runner  *Runner
	db      DB
	id      *roleID // of db
	outer   *within // of the call around this one
	fn      Func
	policy  Policy
	started time.Time

	attempts int
	spared   int           // attempts that MaxAttempts does not count
	spent    time.Duration // before started, which MaxElapsed does not count
	optional int           // failures that may be retried a few times only
	history  []Attempt
	turn     turn
	rec      *recorder // of the latest attempt; nil before the first
	first    flight
}

// historyEnd is how many attempts the history keeps at either end.
const historyEnd = 20

func (c *call) run(ctx context.Context) error {
	c.started = time.Now()
	defer c.endTurn()
	err := c.loop(ctx)
	if err == nil && c.policy.Budget != nil {
		c.policy.Budget.succeed()
	}
	if len(c.policy.Observers) == 0 {
		return err
	}
	outcome := Outcome{
		Name: c.policy.Name, Attempts: c.attempts, Failed: c.last(),
		Elapsed: c.elapsed(), Queued: c.turn.queued, Err: err,
	}
	for _, o := range c.policy.Observers {
		o.Finished(ctx, outcome)
	}
	return err
}

func (c *call) loop(ctx context.Context) error {
	c.id = identify(c.db)
	c.outer, _ = ctx.Value(withinKey{}).(*within)
	if c.outer.covers(c.db, c.id) {
		return c.failed(failure{}, ErrNested)
	}
	for {
		if err := ctx.Err(); err != nil {
			return c.failed(failure{Attempt: c.last()}, err)
		}
		f := c.inTurn(ctx)
		if f.Err == nil {
			return f.returned
		}
		if stop, err := c.judge(ctx, &f); stop {
			return err
		}
		if err := c.between(ctx, f); err != nil {
			c.spareBudget()
			return c.failed(f, err)
		}
	}
}

// between waits for the next attempt and runs the caller's hook.
func (c *call) between(ctx context.Context, f failure) error {
	if err := sleep(ctx, f.Wait); err != nil {
		return err
	}
	if c.policy.BeforeRetry == nil {
		return nil
	}
	if err := c.policy.BeforeRetry(ctx, f.Attempt); err != nil {
		return fmt.Errorf("before retry: %w", err)
	}
	if c.policy.MaxElapsed > 0 && time.Since(c.started) > c.policy.MaxElapsed {
		return ErrExhausted
	}
	return nil
}

// failure is a failed attempt. An error of the closure that the database has no part in leaves Err nil.
type failure struct {
	Attempt
	returned error // what the closure returned
	ended    bool  // the attempt's context had ended
}

// judge decides whether another attempt follows f, records f, and makes the call's error if none does.
func (c *call) judge(ctx context.Context, f *failure) (stop bool, err error) {
	if errors.Is(f.returned, errCareful) && !ofAnotherCall(f.returned) && ctx.Err() == nil {
		c.startOver(ctx, f)
		return false, nil
	}
	v := c.policy.classify(f.Stage, f.Err)
	stopped := c.stops(ctx, f, v)
	f.Retry = v != fatal && !f.ended && stopped == nil && !c.lost()
	if f.Retry {
		f.Wait = c.pause(f, v)
		if c.policy.Budget != nil {
			f.Wait = max(f.Wait, c.policy.Budget.take())
		}
		if c.policy.MaxElapsed > 0 && f.Wait > c.policy.MaxElapsed-time.Since(c.started) {
			f.Retry, f.Wait, stopped = false, 0, ErrExhausted
			c.spareBudget()
		}
	}
	c.record(ctx, f.Attempt)
	if f.Retry {
		if v == readOnly {
			c.reconnect()
		}
		return false, nil
	}
	return true, c.failed(*f, stopped)
}

// startOver has another attempt follow f at once, with all that the policy allows a call: a batch has learned from f, and
// goes on otherwise.
func (c *call) startOver(ctx context.Context, f *failure) {
	f.Retry = true
	c.record(ctx, f.Attempt)
	c.spent, c.started = c.elapsed(), time.Now()
	c.spared, c.optional = c.attempts, 0
}

func (c *call) elapsed() time.Duration { return c.spent + time.Since(c.started) }

// spareBudget gives back what a retry took that does not come after all: else the calls of a storm that run out of time
// would leave a debt which those after it pay.
func (c *call) spareBudget() {
	if c.policy.Budget != nil {
		c.policy.Budget.giveBack()
	}
}

// reconnect makes a pool open new connections, which may lead to the new primary.
func (c *call) reconnect() {
	if pool, ok := base(c.db).(interface{ Reset() }); ok {
		pool.Reset()
	}
}

// pause is the wait before the next attempt. After a conflict at a gate there is none at first: the gate orders the
// attempts, and the rival that won has committed.
func (c *call) pause(f *failure, v verdict) time.Duration {
	switch {
	case v != conflict || !c.turn.gated:
		return c.policy.wait(f.Number, v == slow || v == readOnly)
	case f.Number > promptAttempts:
		return c.policy.wait(f.Number-promptAttempts, false)
	}
	return 0
}

// stops tells why no attempt may follow a failure with verdict v; nil if one may, or if v says enough.
func (c *call) stops(ctx context.Context, f *failure, v verdict) error {
	switch {
	case v == unknown:
		return ErrCommitUnknown
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(f.Err, errTurn):
		return ErrExhausted
	case v == fatal || f.ended || c.lost():
		return nil
	case v == optional:
		if c.optional++; c.optional >= c.policy.MaxOptional {
			return ErrExhausted
		}
	}
	if c.policy.MaxAttempts > 0 && c.attempts-c.spared >= c.policy.MaxAttempts {
		return ErrExhausted
	}
	return nil
}

// lost tells that the only connection there is has been lost, so that no attempt can follow.
func (c *call) lost() bool {
	conn := single(c.db)
	return conn != nil && conn.IsClosed()
}

func (c *call) record(ctx context.Context, a Attempt) {
	if len(c.history) >= 2*historyEnd {
		copy(c.history[historyEnd:], c.history[historyEnd+1:])
		c.history = c.history[:2*historyEnd-1]
	}
	c.history = append(c.history, a)
	for _, o := range c.policy.Observers {
		o.AttemptFailed(ctx, a)
	}
}

func (c *call) last() Attempt {
	if len(c.history) == 0 {
		return Attempt{}
	}
	return c.history[len(c.history)-1]
}

func (c *call) failed(f failure, stopped error) error {
	return &Error{
		Name:     c.policy.Name,
		SQLSTATE: f.SQLSTATE,
		Attempts: c.attempts,
		Elapsed:  c.elapsed(),
		History:  c.history,
		Err:      f.Err,
		Returned: f.returned,
		Stopped:  stopped,
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
