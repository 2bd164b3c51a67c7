package concord

import (
	"context"
	"time"
)

// Role is what a user may do everywhere.
type Role string

// The roles.
const (
	RoleAdmin  Role = "admin"  // everything, users and homes too
	RoleUser   Role = "user"   // sees and switches
	RoleViewer Role = "viewer" // sees
)

// User is a person, or a program, that may sign in.
type User struct {
	ID           int64
	Login        string
	Name         string
	Role         Role
	PasswordHash string // argon2id in PHC form; never leaves the server
	Active       bool
}

// Session is a signed-in browser or program.
type Session struct {
	TokenHash [32]byte // SHA-256 of the cookie; the cookie itself is stored nowhere
	UserID    int64
	HomeID    int64 // the home last chosen; 0 when none was
	CreatedAt time.Time
	ExpiresAt time.Time
}

// UserService keeps users in the database.
type UserService interface {
	// UserByLogin returns the user. The error is CodeNotFound.
	UserByLogin(ctx context.Context, login string) (User, error)
	// UserByID returns the user. The error is CodeNotFound.
	UserByID(ctx context.Context, id int64) (User, error)
	// CreateUser stores a new user and returns it with its id. The error is
	// CodeInvalid when the login is taken.
	CreateUser(ctx context.Context, u User) (User, error)
	// UpdatePassword replaces the hash of the user's password.
	UpdatePassword(ctx context.Context, id int64, hash string) error
	// CountUsers returns how many users there are.
	CountUsers(ctx context.Context) (int, error)
}

// SessionService keeps sessions in the database, so that they survive a
// restart and hold on every instance.
type SessionService interface {
	// CreateSession stores a session.
	CreateSession(ctx context.Context, s Session) error
	// FindSessions returns every session that has not expired.
	FindSessions(ctx context.Context) ([]Session, error)
	// SessionByToken returns a session that has not expired. The error is CodeNotFound.
	SessionByToken(ctx context.Context, tokenHash [32]byte) (Session, error)
	// UpdateSessionHome remembers the chosen home.
	UpdateSessionHome(ctx context.Context, tokenHash [32]byte, home int64) error
	// DeleteSession ends a session.
	DeleteSession(ctx context.Context, tokenHash [32]byte) error
}
