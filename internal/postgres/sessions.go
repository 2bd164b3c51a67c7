package postgres

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/concord-home/concord"
)

// CreateSession implements [concord.SessionService]. Expired sessions are
// removed on the way.
func (db *DB) CreateSession(ctx context.Context, s concord.Session) error {
	return db.write(ctx, "sessions", func(ctx context.Context, tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `delete from web_session where expires_at < $1`, time.Now()); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `
			insert into web_session (token_hash, user_id, home_id, created_at, expires_at)
			values ($1, $2, $3, $4, $5)
			on conflict (token_hash) do nothing`, s.TokenHash[:], s.UserID, s.HomeID, s.CreatedAt, s.ExpiresAt)
		return err
	})
}

// FindSessions implements [concord.SessionService].
func (db *DB) FindSessions(ctx context.Context) ([]concord.Session, error) {
	rows, err := db.pool.Query(ctx, `
		select token_hash, user_id, home_id, created_at, expires_at
		from web_session
		where expires_at > $1`, time.Now())
	if err != nil {
		return nil, classify(err)
	}
	sessions, err := pgx.CollectRows(rows, scanSession)
	if err != nil {
		return nil, classify(err)
	}
	return sessions, nil
}

// SessionByToken implements [concord.SessionService].
func (db *DB) SessionByToken(ctx context.Context, tokenHash [32]byte) (concord.Session, error) {
	rows, err := db.pool.Query(ctx, `
		select token_hash, user_id, home_id, created_at, expires_at
		from web_session
		where token_hash = $1 and expires_at > $2`, tokenHash[:], time.Now())
	if err != nil {
		return concord.Session{}, classify(err)
	}
	session, err := pgx.CollectExactlyOneRow(rows, scanSession)
	if errors.Is(err, pgx.ErrNoRows) {
		return concord.Session{}, concord.Errorf(concord.CodeNotFound, "Session not found")
	}
	if err != nil {
		return concord.Session{}, classify(err)
	}
	return session, nil
}

func scanSession(row pgx.CollectableRow) (concord.Session, error) {
	var s concord.Session
	var hash []byte
	err := row.Scan(&hash, &s.UserID, &s.HomeID, &s.CreatedAt, &s.ExpiresAt)
	copy(s.TokenHash[:], hash)
	return s, err
}

// UpdateSessionHome implements [concord.SessionService].
func (db *DB) UpdateSessionHome(ctx context.Context, tokenHash [32]byte, home int64) error {
	return db.write(ctx, "sessions", func(ctx context.Context, tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `update web_session set home_id = $2 where token_hash = $1`, tokenHash[:], home)
		return err
	})
}

// DeleteSession implements [concord.SessionService].
func (db *DB) DeleteSession(ctx context.Context, tokenHash [32]byte) error {
	return db.write(ctx, "sessions", func(ctx context.Context, tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `delete from web_session where token_hash = $1`, tokenHash[:])
		return err
	})
}
