package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/concord-home/concord/internal/web/signin"
)

// userCmd is about the people who sign in.
type userCmd struct {
	Password userPasswordCmd `cmd:"" help:"Give a user a new password and end the user's sessions."`
}

type userPasswordCmd struct {
	databaseFlags
	Stdin bool   `help:"Read the new password from standard input; without it one is made up and printed once."`
	Login string `arg:"" optional:"" default:"admin" help:"Whose."`
}

// Run sets the password. The servers notice within a minute that the sessions
// are gone, and the password at once.
func (c *userPasswordCmd) Run(ctx context.Context) error {
	password := rand.Text()
	if c.Stdin {
		var err error
		if password, err = firstLine(os.Stdin); err != nil {
			return exitError{2, err}
		}
	}
	hash, err := signin.NewHasher(1).Hash(ctx, password)
	if err != nil {
		return exitError{2, err}
	}
	db, err := c.open(ctx)
	if err != nil {
		return err
	}
	defer db.Close()
	ended, err := db.ResetPassword(ctx, c.Login, hash)
	if err != nil {
		return fmt.Errorf("%s: %w", c.Login, err)
	}
	fmt.Printf("login     %s\n", c.Login)
	if !c.Stdin {
		fmt.Printf("password  %s   (shown this once)\n", password)
	}
	fmt.Printf("%d sessions ended\n", ended)
	return nil
}

func firstLine(r io.Reader) (string, error) {
	line, err := bufio.NewReader(io.LimitReader(r, 4096)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", fmt.Errorf("read the password: %w", err)
	}
	return strings.TrimRight(line, "\r\n"), nil
}
