package postgres

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/concord-home/concord"
)

// UserByLogin implements [concord.UserService].
func (db *DB) UserByLogin(ctx context.Context, login string) (concord.User, error) {
	rows, err := db.pool.Query(ctx, `
		select user_id, login, name, role, password_hash, active
		from app_user
		where login = $1`, login)
	return oneUser(rows, err)
}

// UserByID implements [concord.UserService].
func (db *DB) UserByID(ctx context.Context, id int64) (concord.User, error) {
	rows, err := db.pool.Query(ctx, `
		select user_id, login, name, role, password_hash, active
		from app_user
		where user_id = $1`, id)
	return oneUser(rows, err)
}

func oneUser(rows pgx.Rows, err error) (concord.User, error) {
	if err != nil {
		return concord.User{}, classify(err)
	}
	user, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByPos[concord.User])
	if errors.Is(err, pgx.ErrNoRows) {
		return concord.User{}, concord.Errorf(concord.CodeNotFound, "User not found")
	}
	if err != nil {
		return concord.User{}, classify(err)
	}
	return user, nil
}

// CreateUser implements [concord.UserService].
func (db *DB) CreateUser(ctx context.Context, u concord.User) (concord.User, error) {
	err := db.write(ctx, "users", func(ctx context.Context, tx pgx.Tx) error {
		return tx.QueryRow(ctx, `
			insert into app_user (login, name, role, password_hash, active)
			values ($1, $2, $3, $4, $5)
			returning user_id`, u.Login, u.Name, u.Role, u.PasswordHash, u.Active).Scan(&u.ID)
	})
	if pgErr, ok := errors.AsType[*pgconn.PgError](err); ok && pgErr.Code == "23505" {
		return concord.User{}, &concord.Error{Code: concord.CodeInvalid, Message: "The login is taken", Err: err}
	}
	return u, err
}

// UpdatePassword implements [concord.UserService].
func (db *DB) UpdatePassword(ctx context.Context, id int64, hash string) error {
	return db.write(ctx, "users", func(ctx context.Context, tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `update app_user set password_hash = $2 where user_id = $1`, id, hash)
		return err
	})
}

// ResetPassword replaces the hash of a login's password and ends the login's
// sessions, whose number it returns. The error is CodeNotFound.
func (db *DB) ResetPassword(ctx context.Context, login, hash string) (ended int, err error) {
	err = db.write(ctx, "users", func(ctx context.Context, tx pgx.Tx) error {
		var id int64
		err := tx.QueryRow(ctx, `update app_user set password_hash = $2 where login = $1 returning user_id`, login, hash).Scan(&id)
		if errors.Is(err, pgx.ErrNoRows) {
			return concord.Errorf(concord.CodeNotFound, "There is no such user")
		}
		if err != nil {
			return err
		}
		tag, err := tx.Exec(ctx, `delete from web_session where user_id = $1`, id)
		ended = int(tag.RowsAffected())
		return err
	})
	return ended, err
}

// CountUsers implements [concord.UserService].
func (db *DB) CountUsers(ctx context.Context) (int, error) {
	var n int
	if err := db.pool.QueryRow(ctx, `select count(*) from app_user`).Scan(&n); err != nil {
		return 0, classify(err)
	}
	return n, nil
}
