package signin

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"log/slog"
	"sync"
	"time"

	"github.com/concord-home/concord"
)

// Lifetime is how long a session holds after the sign-in.
const Lifetime = 7 * 24 * time.Hour

const (
	tokenBytes  = 32
	maxLogin    = 256              // bytes
	maxPerUser  = 256              // sessions of one user; the oldest gives way
	maxUnknown  = 4096             // tokens remembered as unknown
	unknownFor  = 10 * time.Second // how long
	storeWithin = 2 * time.Second  // how long a request waits for the database
)

// Options sets up [NewSessions]; the zero value of each optional field works.
type Options struct {
	Users    concord.UserService
	Sessions concord.SessionService
	Health   concord.Health // optional: saves the wait for a database known to be down
	Logger   *slog.Logger
	Now      func() time.Time
	Parallel int // password checks at once; 0 is 2
	// RefreshEvery is how often the sessions and users of the database are read
	// again; 0 is one minute.
	RefreshEvery time.Duration
	// StoreEvery is how often what could not be stored is tried again; 0 is 2 s.
	StoreEvery time.Duration
}

// Identity is who is asking.
type Identity struct {
	User    concord.User
	Session concord.Session
}

// Sessions signs people in and knows them again. It is safe for concurrent use.
type Sessions struct {
	users  concord.UserService
	store  concord.SessionService
	health concord.Health
	log    *slog.Logger
	now    func() time.Time
	hasher *Hasher
	limit  *limiter
	decoy  string // a hash for logins that do not exist
	every  struct{ refresh, store time.Duration }

	mu      sync.Mutex
	entries map[[32]byte]*entry
	ended   map[[32]byte]tombstone
	byID    map[int64]concord.User
	byLogin map[string]concord.User
	unknown map[[32]byte]time.Time

	pending chan struct{} // something waits to be stored
	cancel  context.CancelFunc
	done    chan struct{}
}

// entry is a session and what the database does not know of it yet.
type entry struct {
	concord.Session
	stored  time.Time // when the row was known to exist; zero: not stored yet
	homeNew bool      // HomeID is not stored yet
	touched time.Time // when HomeID was last chosen here
}

// tombstone keeps an ended session from coming back with a reading of the
// database that began before it was deleted there.
type tombstone struct {
	expires time.Time // of the session
	deleted time.Time // from the database; zero: not yet
}

// NewSessions returns Sessions that knows nobody. Start makes it read the database.
func NewSessions(o Options) *Sessions {
	s := &Sessions{
		users: o.Users, store: o.Sessions, health: o.Health,
		log: cmp.Or(o.Logger, slog.New(slog.DiscardHandler)), now: o.Now,
		hasher:  NewHasher(cmp.Or(o.Parallel, 2)),
		entries: map[[32]byte]*entry{}, ended: map[[32]byte]tombstone{},
		byID: map[int64]concord.User{}, byLogin: map[string]concord.User{},
		unknown: map[[32]byte]time.Time{},
		pending: make(chan struct{}, 1),
	}
	if s.now == nil {
		s.now = time.Now
	}
	s.limit = newLimiter(s.now)
	s.every.refresh = cmp.Or(o.RefreshEvery, time.Minute)
	s.every.store = cmp.Or(o.StoreEvery, 2*time.Second)
	s.decoy = phc{
		memory: hashMemory, time: hashTime, threads: hashThreads, salt: randomBytes(hashSalt), key: randomBytes(hashKey),
	}.String()
	return s
}

func randomBytes(n int) []byte {
	b := make([]byte, n)
	rand.Read(b) // never fails
	return b
}

// SignIn checks a password and begins a session. The token is the cookie's
// value; it is returned once and kept nowhere. address limits the attempts.
// Errors: CodeUnauthorized, CodeTooMany, CodeUnavailable when the database is
// down and the user was never seen.
func (s *Sessions) SignIn(ctx context.Context, login, password, address string) (token string, id Identity, err error) {
	if len(login) > maxLogin {
		return "", id, concord.Errorf(concord.CodeUnauthorized, "Access Denied")
	}
	if !s.limit.take(login, address) {
		return "", id, concord.Errorf(concord.CodeTooMany, "Too many login failures, please wait a bit before trying again.")
	}
	user, err := s.checkPassword(ctx, login, password)
	if concord.ErrorCode(err) != concord.CodeUnauthorized {
		s.limit.giveBack(login, address) // right, or not decided
	}
	if err != nil {
		return "", id, err
	}
	s.limit.trust(login, address)
	token, session := s.begin(ctx, user)
	return token, Identity{User: user, Session: session}, nil
}

func (s *Sessions) checkPassword(ctx context.Context, login, password string) (concord.User, error) {
	denied := concord.Errorf(concord.CodeUnauthorized, "Access Denied")
	user, err := s.userByLogin(ctx, login)
	hash := user.PasswordHash
	if concord.ErrorCode(err) == concord.CodeNotFound {
		hash = s.decoy // takes as long, so that the answer does not tell who exists
	} else if err != nil {
		return user, unreachable(err)
	}
	ok, verr := s.hasher.Verify(ctx, password, hash)
	switch {
	case verr != nil:
		return user, verr
	case !ok || err != nil || !user.Active:
		return user, denied
	}
	return user, nil
}

// begin makes a session, keeps it, and stores it now or, when the database does
// not answer, later.
func (s *Sessions) begin(ctx context.Context, user concord.User) (string, concord.Session) {
	token := base64.RawURLEncoding.EncodeToString(randomBytes(tokenBytes))
	now := s.now()
	e := &entry{Session: concord.Session{
		TokenHash: sha256.Sum256([]byte(token)), UserID: user.ID, CreatedAt: now, ExpiresAt: now.Add(Lifetime),
	}}
	session := e.Session
	s.mu.Lock()
	s.makeRoom(user.ID)
	s.entries[e.TokenHash] = e
	s.remember(user)
	s.mu.Unlock()
	s.storeNow(ctx, e.TokenHash)
	return token, session
}

// makeRoom ends the user's oldest session when there are too many.
func (s *Sessions) makeRoom(userID int64) {
	var oldest *entry
	n := 0
	for _, e := range s.entries {
		if e.UserID != userID {
			continue
		}
		if n++; oldest == nil || e.CreatedAt.Before(oldest.CreatedAt) {
			oldest = e
		}
	}
	if n >= maxPerUser {
		s.end(oldest.TokenHash)
	}
}

// Resume returns who holds token. The error is CodeUnauthorized when nobody
// does, or no longer, and CodeUnavailable when only the database could tell.
func (s *Sessions) Resume(ctx context.Context, token string) (Identity, error) {
	if len(token) != base64.RawURLEncoding.EncodedLen(tokenBytes) {
		return Identity{}, errExpired
	}
	hash := sha256.Sum256([]byte(token))
	if id, known, err := s.fromMemory(hash); known {
		return id, err
	}
	return s.fromStore(ctx, hash)
}

var errExpired = concord.Errorf(concord.CodeUnauthorized, "Session expired")

// fromMemory answers without the database, when it can.
func (s *Sessions) fromMemory(hash [32]byte) (id Identity, known bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e, ok := s.entries[hash]; ok {
		user, ok := s.byID[e.UserID]
		if !e.ExpiresAt.After(s.now()) || ok && !user.Active {
			return id, true, errExpired
		}
		return Identity{User: user, Session: e.Session}, ok, nil
	}
	_, gone := s.ended[hash]
	at, asked := s.unknown[hash]
	return id, gone || asked && s.now().Sub(at) < unknownFor, errExpired
}

// fromStore asks the database for a session that another instance made, or this
// one before it was started anew.
func (s *Sessions) fromStore(ctx context.Context, hash [32]byte) (Identity, error) {
	if s.health != nil && !s.health.Database().Up {
		return Identity{}, unreachable(nil)
	}
	ctx, cancel := context.WithTimeout(ctx, storeWithin)
	defer cancel()
	session, err := s.store.SessionByToken(ctx, hash)
	var user concord.User
	if err == nil {
		user, err = s.users.UserByID(ctx, session.UserID)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case concord.ErrorCode(err) == concord.CodeNotFound:
		s.forget(hash)
		return Identity{}, errExpired
	case err != nil:
		return Identity{}, unreachable(err)
	}
	if _, ok := s.entries[hash]; !ok {
		s.entries[hash] = &entry{Session: session, stored: s.now()}
	}
	s.remember(user)
	if !user.Active || !session.ExpiresAt.After(s.now()) {
		return Identity{}, errExpired
	}
	return Identity{User: user, Session: s.entries[hash].Session}, nil
}

func unreachable(err error) error {
	return &concord.Error{Code: concord.CodeUnavailable, Message: "The database cannot be reached, please try again later", Err: err}
}

func (s *Sessions) forget(hash [32]byte) {
	if len(s.unknown) >= maxUnknown {
		clear(s.unknown)
	}
	s.unknown[hash] = s.now()
}

// ChooseHome remembers the home that the session looks at.
func (s *Sessions) ChooseHome(ctx context.Context, hash [32]byte, home int64) {
	s.mu.Lock()
	e, ok := s.entries[hash]
	if ok && e.HomeID != home {
		e.HomeID, e.homeNew, e.touched = home, true, s.now()
	}
	s.mu.Unlock()
	if ok {
		s.storeNow(ctx, hash)
	}
}

// Home returns the home that the session looks at now, or 0.
func (s *Sessions) Home(hash [32]byte) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e, ok := s.entries[hash]; ok {
		return e.HomeID
	}
	return 0
}

// Current returns who the session belongs to now, from memory; a screen that
// stays connected asks before it does anything. The error is CodeUnauthorized.
func (s *Sessions) Current(hash [32]byte) (Identity, error) {
	id, known, err := s.fromMemory(hash)
	if !known || err != nil {
		return Identity{}, errExpired
	}
	return id, nil
}

// Valid reports whether the session still holds; a screen that stays connected
// for days asks from time to time.
func (s *Sessions) Valid(hash [32]byte) bool {
	_, known, err := s.fromMemory(hash)
	return known && err == nil
}

// SignOut ends the session.
func (s *Sessions) SignOut(ctx context.Context, hash [32]byte) {
	s.mu.Lock()
	s.end(hash)
	s.mu.Unlock()
	s.storeNow(ctx, hash)
}

// end takes the session out of memory and has it deleted from the database.
func (s *Sessions) end(hash [32]byte) {
	if e, ok := s.entries[hash]; ok {
		s.ended[hash] = tombstone{expires: e.ExpiresAt}
		delete(s.entries, hash)
		s.wake()
	}
}

// remember keeps a user's row for the time when the database is down.
func (s *Sessions) remember(u concord.User) {
	if old, ok := s.byID[u.ID]; ok && old.Login != u.Login {
		delete(s.byLogin, old.Login)
	}
	s.byID[u.ID], s.byLogin[u.Login] = u, u
}

// userByLogin prefers the database and falls back on memory.
func (s *Sessions) userByLogin(ctx context.Context, login string) (concord.User, error) {
	s.mu.Lock()
	cached, ok := s.byLogin[login]
	s.mu.Unlock()
	if ok && s.health != nil && !s.health.Database().Up {
		return cached, nil
	}
	ctx, cancel := context.WithTimeout(ctx, storeWithin)
	defer cancel()
	user, err := s.users.UserByLogin(ctx, login)
	if err != nil && concord.ErrorCode(err) != concord.CodeNotFound && ok {
		return cached, nil
	}
	return user, err
}
