package signin

import (
	"context"
	"crypto/rand"
	"fmt"

	"github.com/concord-home/concord"
)

// AdminLogin is the login of the user that a new installation begins with.
const AdminLogin = "admin"

// EnsureAdmin creates the user "admin" when there are no users at all. With an
// empty password it makes one up and returns it, to be shown once. It returns
// "" when there was nothing to do, or the password was the caller's.
func EnsureAdmin(ctx context.Context, users concord.UserService, password string) (generated string, err error) {
	n, err := users.CountUsers(ctx)
	if err != nil {
		return "", fmt.Errorf("count users: %w", err)
	}
	if n > 0 {
		return "", nil
	}
	if password == "" {
		generated = rand.Text()
		password = generated
	}
	hash, err := NewHasher(1).Hash(ctx, password)
	if err != nil {
		return "", fmt.Errorf("hash the first password: %w", err)
	}
	_, err = users.CreateUser(ctx, concord.User{
		Login: AdminLogin, Name: "Administrator", Role: concord.RoleAdmin, PasswordHash: hash, Active: true,
	})
	if concord.ErrorCode(err) == concord.CodeInvalid {
		return "", nil // another instance was quicker
	}
	if err != nil {
		return "", fmt.Errorf("create the first user: %w", err)
	}
	return generated, nil
}
