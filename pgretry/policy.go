package pgretry

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5"
)

// Defaults of a [Policy] field that is left zero.
const (
	DefaultMaxAttempts = 50
	DefaultMaxElapsed  = time.Minute
	DefaultFirstWait   = 5 * time.Millisecond
	DefaultMaxWait     = time.Second
	DefaultSlowWait    = 200 * time.Millisecond
	DefaultMaxSlowWait = 5 * time.Second
	DefaultMaxOptional = 5
	DefaultGrace       = 5 * time.Second
	DefaultWatchAfter  = time.Second
)

const leastWeight = 1e-6

// Policy says how a transaction runs and when it runs again. Its zero value is a good policy.
type Policy struct {
	// Name labels the transaction for observers and errors. Use a constant: it may become a metric's label.
	Name string

	// IsoLevel is REPEATABLE READ when empty.
	IsoLevel pgx.TxIsoLevel
	// AccessMode is READ WRITE when empty.
	AccessMode pgx.TxAccessMode
	// DeferrableMode matters to SERIALIZABLE READ ONLY alone.
	DeferrableMode pgx.TxDeferrableMode

	// MaxAttempts bounds the attempts, the first included; zero means [DefaultMaxAttempts], negative no bound.
	MaxAttempts int
	// MaxElapsed bounds the whole call: no attempt begins later; zero means [DefaultMaxElapsed], negative no bound.
	// The context's deadline holds as well, and it alone bounds the wait for a connection of the pool.
	MaxElapsed time.Duration
	// AttemptTimeout ends the context of one attempt; zero means no limit. An attempt that it ends is not retried.
	AttemptTimeout time.Duration

	// FirstWait and MaxWait shape the backoff: before attempt n+1 Do waits a random time between zero and
	// FirstWait·2ⁿ⁻¹, at most MaxWait; negative ones mean no wait. With the defaults the upper bounds are 5, 10, 20 … 640 ms, then 1 s.
	FirstWait, MaxWait time.Duration
	// SlowWait and MaxSlowWait replace them when the server refuses connections or has none left.
	// With the defaults the upper bounds are 200, 400 … 3,200 ms, then 5 s.
	SlowWait, MaxSlowWait time.Duration
	// Jitter picks the wait below its upper bound; nil means uniformly at random.
	Jitter func(bound time.Duration) time.Duration

	// RetryOn lists further SQLSTATEs to retry, such as 23505 where fn chooses a key after reading which are taken.
	// They are tried [Policy.MaxOptional] times at most.
	RetryOn []string
	// MaxOptional bounds the attempts that may end in one of RetryOn or in 55P03; zero means [DefaultMaxOptional],
	// negative one.
	MaxOptional int

	// Key names what the transaction conflicts on, such as a row or an account. Transactions of one [Runner] on one
	// database with the same key run one after another, in order of arrival; when they still meet conflicts, from other
	// processes, those on a *pgxpool.Pool take a session advisory lock before BEGIN. Without a key, a queue is learned
	// from conflicts.
	Key string
	// Weight is the share of a queue's time that transactions of this Name get beside those of other names; zero means 1.
	// A negative one means 1 too, and one below a millionth means that. With equal weights a batch writer gets as much
	// time as all the readers of one name together.
	Weight float64

	// Grace bounds what must go on after the context has ended: a rollback, the answer to a COMMIT already sent, and
	// finding out what became of it; zero means [DefaultGrace]. A negative one leaves no time: rollbacks then close their connections.
	Grace time.Duration

	// Budget, shared by many calls, bounds their retries; nil means no bound.
	Budget *Budget
	// BeforeRetry runs after the wait and before each further attempt, to clean up what the failed one left outside the
	// transaction. An error of it ends the call.
	BeforeRetry func(ctx context.Context, failed Attempt) error
	// Reserve is how many connections of a *pgxpool.Pool the Runner's calls leave to others, such as health checks and
	// the calls that set UseReserve. Set it for a whole Runner: the first call on a pool decides.
	Reserve    int
	UseReserve bool
	// WatchAfter is how long an attempt may take before a look, on another connection, at what blocks it; zero means
	// [DefaultWatchAfter], negative never. What it sees is in [Attempt.Blockers] and in a [NoticeBlocked].
	WatchAfter time.Duration

	// NoMarker leaves no marker row where [MarkerMigration] made the table: a COMMIT whose answer is lost then ends in
	// [ErrCommitUnknown].
	NoMarker bool

	// Observers see every failed attempt and every end.
	Observers []Observer
}

func (p *Policy) apply(opts []Option) {
	for _, opt := range opts {
		opt(p)
	}
}

// setDefaults gives the fields that are zero their meaning.
func (p *Policy) setDefaults() {
	or(&p.IsoLevel, pgx.RepeatableRead)
	or(&p.AccessMode, pgx.ReadWrite)
	or(&p.MaxAttempts, DefaultMaxAttempts)
	or(&p.MaxElapsed, DefaultMaxElapsed)
	or(&p.FirstWait, DefaultFirstWait)
	or(&p.MaxWait, DefaultMaxWait)
	or(&p.SlowWait, DefaultSlowWait)
	or(&p.MaxSlowWait, DefaultMaxSlowWait)
	or(&p.MaxOptional, DefaultMaxOptional)
	or(&p.Grace, DefaultGrace)
	or(&p.WatchAfter, DefaultWatchAfter)
	if !(p.Weight > 0) {
		p.Weight = 1
	}
	p.Weight = max(p.Weight, leastWeight)
	if p.Jitter == nil {
		p.Jitter = uniform
	}
}

func or[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

func uniform(bound time.Duration) time.Duration {
	if bound <= 0 {
		return 0
	}
	return rand.N(bound)
}

func (p *Policy) txOptions(m *marker) pgx.TxOptions {
	opts := pgx.TxOptions{IsoLevel: p.IsoLevel, AccessMode: p.AccessMode, DeferrableMode: p.DeferrableMode}
	if m != nil {
		opts.CommitQuery = m.commitQuery()
	}
	return opts
}

// wait is the pause after n failed attempts.
func (p *Policy) wait(n int, slow bool) time.Duration {
	first, most := p.FirstWait, p.MaxWait
	if slow {
		first, most = p.SlowWait, p.MaxSlowWait
	}
	if first < 0 {
		return p.Jitter(0)
	}
	bound := most
	if shift := max(n, 1) - 1; shift < 32 && first<<shift < most && first<<shift > 0 {
		bound = first << shift
	}
	return p.Jitter(max(0, bound))
}
