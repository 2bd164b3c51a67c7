package signin

import (
	"context"
	"errors"
	"time"

	"github.com/concord-home/concord"
)

// Start reads the sessions of the database and keeps reading and storing until
// Stop. It does not wait: the database may be down.
func (s *Sessions) Start() {
	if s.done != nil {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	s.cancel, s.done = cancel, make(chan struct{})
	go s.loop(ctx)
}

// Stop ends what Start began and waits for it. It is safe twice and before Start.
func (s *Sessions) Stop() {
	if s.cancel == nil {
		return
	}
	s.cancel()
	<-s.done
}

func (s *Sessions) loop(ctx context.Context) {
	defer close(s.done)
	refresh, retry := time.NewTimer(0), time.NewTimer(s.every.store)
	defer refresh.Stop()
	defer retry.Stop()
	down := false
	for {
		var err error
		select {
		case <-ctx.Done():
			return
		case <-refresh.C:
			err = s.refresh(ctx)
			refresh.Reset(s.nextRefresh(err))
		case <-retry.C:
			err = s.storePending(ctx)
		case <-s.pending:
			retry.Reset(s.every.store)
			continue
		}
		if err != nil {
			retry.Reset(s.every.store)
		}
		down = s.tell(ctx, err, down)
	}
}

// nextRefresh is soon after a failure: the first reading is what makes old
// cookies work.
func (s *Sessions) nextRefresh(err error) time.Duration {
	if err != nil {
		return s.every.store
	}
	return s.every.refresh
}

// tell logs the step from up to down and back, not every failure.
func (s *Sessions) tell(ctx context.Context, err error, down bool) bool {
	if ctx.Err() != nil {
		return down
	}
	if err != nil && !down {
		s.log.Warn("sessions are kept in memory until the database answers", "error", err)
	}
	if err == nil && down {
		s.log.Info("sessions are stored again")
	}
	return err != nil
}

func (s *Sessions) wake() {
	select {
	case s.pending <- struct{}{}:
	default:
	}
}

// refresh makes memory follow the database: sessions and users that other
// instances made, changed or deleted.
func (s *Sessions) refresh(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	began := s.now()
	sessions, err := s.store.FindSessions(ctx)
	if err != nil {
		return err
	}
	users := map[int64]concord.User{}
	for _, session := range sessions {
		if _, ok := users[session.UserID]; ok {
			continue
		}
		user, err := s.users.UserByID(ctx, session.UserID)
		if err != nil && concord.ErrorCode(err) != concord.CodeNotFound {
			return err
		}
		users[session.UserID] = user // the zero User is not Active
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.merge(sessions, began)
	for id, u := range users {
		if u.ID != 0 {
			s.remember(u)
		} else {
			s.byID[id] = concord.User{ID: id} // deleted: not active
		}
	}
	return nil
}

// merge takes over what the database said at a moment after began.
func (s *Sessions) merge(sessions []concord.Session, began time.Time) {
	seen := make(map[[32]byte]bool, len(sessions))
	for _, session := range sessions {
		seen[session.TokenHash] = true
		e, ok := s.entries[session.TokenHash]
		_, gone := s.ended[session.TokenHash]
		switch {
		case gone:
		case !ok:
			s.entries[session.TokenHash] = &entry{Session: session, stored: began}
		case !e.homeNew && e.touched.Before(began):
			e.HomeID = session.HomeID
		}
	}
	now := s.now()
	for hash, e := range s.entries {
		deleted := !seen[hash] && !e.stored.IsZero() && e.stored.Before(began)
		if deleted || !e.ExpiresAt.After(now) {
			delete(s.entries, hash)
		}
	}
	for hash, t := range s.ended {
		if !t.expires.After(now) || !t.deleted.IsZero() && t.deleted.Before(began) {
			delete(s.ended, hash)
		}
	}
}

// storeNow tries to store one session within the request that changed it, and
// leaves it to the loop when the database does not answer.
func (s *Sessions) storeNow(ctx context.Context, hash [32]byte) {
	if s.health != nil && !s.health.Database().Up {
		s.wake()
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeWithin)
	defer cancel()
	if err := s.storeOne(ctx, hash); err != nil {
		s.wake()
	}
}

func (s *Sessions) storePending(ctx context.Context) error {
	s.mu.Lock()
	var todo [][32]byte
	for hash, e := range s.entries {
		if e.stored.IsZero() || e.homeNew {
			todo = append(todo, hash)
		}
	}
	for hash, t := range s.ended {
		if !t.deleted.IsZero() {
			continue
		}
		todo = append(todo, hash)
	}
	s.mu.Unlock()
	var errs []error
	for _, hash := range todo {
		one, cancel := context.WithTimeout(ctx, storeWithin)
		err := s.storeOne(one, hash)
		cancel()
		if err != nil {
			errs = append(errs, err)
			break // the rest would wait as long
		}
	}
	return errors.Join(errs...)
}

// storeOne brings the database's row of one session up to date. Two callers may
// do so at once; each step is harmless twice.
func (s *Sessions) storeOne(ctx context.Context, hash [32]byte) error {
	s.mu.Lock()
	t, ended := s.ended[hash]
	e, ok := s.entries[hash]
	var now entry
	if ok {
		now = *e
	}
	s.mu.Unlock()
	switch {
	case ended && !t.deleted.IsZero():
		return nil
	case ended:
		return s.deleteStored(ctx, hash)
	case !ok:
		return nil
	case now.stored.IsZero():
		return s.insert(ctx, now)
	case now.homeNew:
		return s.updateHome(ctx, now)
	}
	return nil
}

func (s *Sessions) deleteStored(ctx context.Context, hash [32]byte) error {
	err := s.store.DeleteSession(ctx, hash)
	if err != nil && concord.ErrorCode(err) != concord.CodeNotFound {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.ended[hash]
	t.deleted = s.now()
	s.ended[hash] = t
	return nil
}

func (s *Sessions) insert(ctx context.Context, e entry) error {
	err := s.store.CreateSession(ctx, e.Session)
	if err != nil && s.isStored(ctx, e.TokenHash) {
		err = nil // the answer of an earlier try was lost
	}
	if err != nil {
		return err
	}
	s.changed(e, func(now *entry) { now.stored = s.now() })
	return nil
}

func (s *Sessions) isStored(ctx context.Context, hash [32]byte) bool {
	_, err := s.store.SessionByToken(ctx, hash)
	return err == nil
}

func (s *Sessions) updateHome(ctx context.Context, e entry) error {
	if err := s.store.UpdateSessionHome(ctx, e.TokenHash, e.HomeID); err != nil {
		return err
	}
	s.changed(e, func(*entry) {})
	return nil
}

// changed marks what was stored; a home chosen meanwhile stays to be stored.
func (s *Sessions) changed(stored entry, mark func(*entry)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, ok := s.entries[stored.TokenHash]
	if !ok {
		return
	}
	mark(e)
	e.homeNew = e.HomeID != stored.HomeID
}
