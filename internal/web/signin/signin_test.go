package signin_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/concord-home/concord"
	"github.com/concord-home/concord/internal/web/signin"
)

func TestHash(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	h := signin.NewHasher(2)
	hash, err := h.Hash(ctx, "secret")
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(hash, "$argon2id$v=19$m=19456,t=2,p=1$"), hash)
	ok, err := h.Verify(ctx, "secret", hash)
	require.NoError(t, err)
	require.True(t, ok)
	ok, err = h.Verify(ctx, "Secret", hash)
	require.NoError(t, err)
	require.False(t, ok)
	// From the reference implementation: echo -n password | argon2 somesalt -id -t 2 -m 16 -p 1
	ok, err = h.Verify(ctx, "password", "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc")
	require.NoError(t, err)
	require.True(t, ok)
	_, err = h.Hash(ctx, "")
	require.Equal(t, concord.CodeInvalid, concord.ErrorCode(err))
}

func TestBadHashes(t *testing.T) {
	t.Parallel()
	for _, hash := range []string{
		"", "secret", "$argon2i$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
		"$argon2id$v=19$m=999999999,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
		"$argon2id$v=19$m=65536,t=2,p=0$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
		"$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$", "$argon2id$v=19$m=65536,t=2,p=1$!$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
	} {
		_, err := signin.NewHasher(1).Verify(context.Background(), "x", hash)
		require.ErrorIs(t, err, signin.ErrBadHash, hash)
	}
}

// store is users and sessions in memory.
type store struct {
	mu       sync.Mutex
	users    map[string]concord.User
	sessions map[[32]byte]concord.Session
	down     error
	asked    int
}

func newStore() *store {
	return &store{users: map[string]concord.User{}, sessions: map[[32]byte]concord.Session{}}
}

func (s *store) UserByLogin(_ context.Context, login string) (concord.User, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if u, ok := s.users[login]; ok || s.down != nil {
		return u, s.down
	}
	return concord.User{}, concord.Errorf(concord.CodeNotFound, "no such user")
}

func (s *store) UserByID(_ context.Context, id int64) (concord.User, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, u := range s.users {
		if u.ID == id {
			return u, s.down
		}
	}
	return concord.User{}, concord.Errorf(concord.CodeNotFound, "no such user")
}

func (s *store) CreateUser(_ context.Context, u concord.User) (concord.User, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	u.ID = int64(len(s.users) + 1)
	s.users[u.Login] = u
	return u, s.down
}

func (s *store) UpdatePassword(context.Context, int64, string) error { return nil }

func (s *store) CountUsers(context.Context) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.users), s.down
}

func (s *store) CreateSession(_ context.Context, v concord.Session) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down == nil {
		s.sessions[v.TokenHash] = v
	}
	return s.down
}

func (s *store) FindSessions(context.Context) ([]concord.Session, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []concord.Session
	for _, v := range s.sessions {
		all = append(all, v)
	}
	return all, s.down
}

func (s *store) SessionByToken(_ context.Context, hash [32]byte) (concord.Session, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked++
	if v, ok := s.sessions[hash]; ok {
		return v, s.down
	}
	return concord.Session{}, concord.Errorf(concord.CodeNotFound, "no such session")
}

func (s *store) UpdateSessionHome(_ context.Context, hash [32]byte, home int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	v := s.sessions[hash]
	v.HomeID = home
	s.sessions[hash] = v
	return s.down
}

func (s *store) DeleteSession(_ context.Context, hash [32]byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down == nil {
		delete(s.sessions, hash)
	}
	return s.down
}

func TestEnsureAdmin(t *testing.T) {
	t.Parallel()
	ctx, db := context.Background(), newStore()
	generated, err := signin.EnsureAdmin(ctx, db, "")
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(generated), 20)
	s := signin.NewSessions(signin.Options{Users: db, Sessions: db})
	_, id, err := s.SignIn(ctx, "admin", generated, "192.0.2.1")
	require.NoError(t, err)
	require.Equal(t, concord.RoleAdmin, id.User.Role)
	again, err := signin.EnsureAdmin(ctx, db, "other")
	require.NoError(t, err)
	require.Empty(t, again)
	given, err := signin.EnsureAdmin(ctx, newStore(), "mine")
	require.NoError(t, err)
	require.Empty(t, given, "the owner's own password is not shown")
}

// users are two people with cheap hashes.
func people(t *testing.T) *store {
	t.Helper()
	db := newStore()
	for i, login := range []string{"ann", "bob"} {
		hash, err := signin.NewHasher(1).Hash(context.Background(), login+"'s")
		require.NoError(t, err)
		db.users[login] = concord.User{ID: int64(i + 1), Login: login, PasswordHash: hash, Active: true}
	}
	return db
}

func TestLimits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := signin.NewLimiter()
		for range 10 {
			require.True(t, l.Take("ann", "192.0.2.1"))
		}
		require.False(t, l.Take("ann", "192.0.2.1"))
		require.True(t, l.Take("ann", "198.51.100.7"), "who guesses elsewhere locks nobody out")
		require.True(t, l.Take("bob", "192.0.2.1"), "another person is not locked out")
		time.Sleep(7 * time.Second) // of the bubble's clock
		require.True(t, l.Take("ann", "192.0.2.1"))
		require.False(t, l.Take("ann", "192.0.2.1"))
		for i := range 30 {
			require.True(t, l.Take(fmt.Sprintf("nobody%d", i), fmt.Sprintf("2001:db8::%x", i)))
		}
		require.False(t, l.Take("bob", "2001:db8::ffff"), "an address is a network")
		for range 50 {
			require.True(t, l.Take("bob", "192.0.2.9"))
			l.GiveBack("bob", "192.0.2.9") // success costs nothing
		}
		for i := range 20_000 {
			l.Take(fmt.Sprintf("n%d", i), fmt.Sprintf("203.%d.%d.%d", i>>16, i>>8&255, i&255))
		}
		require.LessOrEqual(t, l.Len(), 4*4096)
	})
}

func TestGuessingFromManyAddresses(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := signin.NewLimiter()
		l.Trust("ann", "192.0.2.1")
		answered := 0
		for i := range 10_000 {
			if l.Take("ann", fmt.Sprintf("203.0.%d.%d", i>>8, i&255)) {
				answered++
			}
		}
		require.Equal(t, 100, answered)
		require.True(t, l.Take("ann", "192.0.2.1"), "the owner, from where she signed in before")
		require.True(t, l.Take("bob", "203.0.113.9"), "another person")
		time.Sleep(3 * time.Second) // of the bubble's clock
		require.True(t, l.Take("ann", "203.0.113.10"), "the drip")
		for i := range 10_000 {
			l.Trust(fmt.Sprint(i), "192.0.2.1")
		}
		require.LessOrEqual(t, l.Len(), 4*4096)
	})
}

func TestSessionLife(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, db := context.Background(), people(t)
		begin := func() *signin.Sessions {
			s := signin.NewSessions(signin.Options{Users: db, Sessions: db})
			s.Start()
			return s
		}
		one, two := begin(), begin()
		defer one.Stop()
		defer two.Stop()
		token, _, err := one.SignIn(ctx, "ann", "ann's", "192.0.2.1")
		require.NoError(t, err)
		id, err := two.Resume(ctx, token)
		require.NoError(t, err, "another instance knows it")
		require.Equal(t, "ann", id.User.Login)

		one.ChooseHome(ctx, id.Session.TokenHash, 7)
		time.Sleep(2 * time.Minute)
		require.EqualValues(t, 7, two.Home(id.Session.TokenHash))

		two.SignOut(ctx, id.Session.TokenHash)
		time.Sleep(2 * time.Minute)
		_, err = one.Resume(ctx, token)
		require.Equal(t, concord.CodeUnauthorized, concord.ErrorCode(err))

		token, _, err = one.SignIn(ctx, "ann", "ann's", "192.0.2.1")
		require.NoError(t, err)
		time.Sleep(signin.Lifetime + time.Second)
		_, err = one.Resume(ctx, token)
		require.Equal(t, concord.CodeUnauthorized, concord.ErrorCode(err), "it expires")
	})
}

func TestUserSwitchedOff(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, db := context.Background(), people(t)
		s := signin.NewSessions(signin.Options{Users: db, Sessions: db})
		s.Start()
		defer s.Stop()
		token, id, err := s.SignIn(ctx, "ann", "ann's", "192.0.2.1")
		require.NoError(t, err)
		db.mu.Lock()
		u := db.users["ann"]
		u.Active = false
		db.users["ann"] = u
		db.mu.Unlock()
		time.Sleep(2 * time.Minute)
		_, err = s.Resume(ctx, token)
		require.Equal(t, concord.CodeUnauthorized, concord.ErrorCode(err))
		require.False(t, s.Valid(id.Session.TokenHash))
		_, _, err = s.SignIn(ctx, "ann", "ann's", "192.0.2.1")
		require.Equal(t, concord.CodeUnauthorized, concord.ErrorCode(err))
	})
}

func TestSignOutWhileTheDatabaseIsDown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, db := context.Background(), people(t)
		s := signin.NewSessions(signin.Options{Users: db, Sessions: db})
		s.Start()
		defer s.Stop()
		token, id, err := s.SignIn(ctx, "ann", "ann's", "192.0.2.1")
		require.NoError(t, err)
		db.mu.Lock()
		db.down = errors.New("down")
		db.mu.Unlock()
		s.SignOut(ctx, id.Session.TokenHash)
		time.Sleep(2 * time.Minute)
		db.mu.Lock()
		db.down = nil
		require.Len(t, db.sessions, 1)
		db.mu.Unlock()
		_, err = s.Resume(ctx, token)
		require.Error(t, err)
		time.Sleep(2 * time.Minute)
		db.mu.Lock()
		require.Empty(t, db.sessions, "deleted when the database was back")
		db.mu.Unlock()
		_, err = s.Resume(ctx, token)
		require.Error(t, err)
	})
}

func TestUnknownTokensAskTheDatabaseOnce(t *testing.T) {
	t.Parallel()
	db := people(t)
	s := signin.NewSessions(signin.Options{Users: db, Sessions: db})
	for range 20 {
		_, err := s.Resume(context.Background(), strings.Repeat("A", 43))
		require.Equal(t, concord.CodeUnauthorized, concord.ErrorCode(err))
		_, err = s.Resume(context.Background(), "nonsense")
		require.Error(t, err)
	}
	require.Equal(t, 1, db.asked)
}

// Who cannot be told while the database is down is not called expired.
func TestUnknownTokenWhileTheDatabaseIsDown(t *testing.T) {
	t.Parallel()
	db := people(t)
	first := signin.NewSessions(signin.Options{Users: db, Sessions: db})
	token, _, err := first.SignIn(context.Background(), "ann", "ann's", "192.0.2.1")
	require.NoError(t, err)
	again := signin.NewSessions(signin.Options{Users: db, Sessions: db})
	db.down = errors.New("down")
	_, err = again.Resume(context.Background(), token)
	require.Equal(t, concord.CodeUnavailable, concord.ErrorCode(err))
	db.down = nil
	_, err = again.Resume(context.Background(), token)
	require.NoError(t, err)
}
