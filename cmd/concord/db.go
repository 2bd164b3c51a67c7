package main

import (
	"fmt"

	"github.com/concord-home/concord/internal/app"
)

type dbCmd struct {
	URL dbURLCmd `cmd:"" name:"url" help:"Print a connection string for the running server's database, for psql and other tools."`
}

type dbURLCmd struct {
	Data string `env:"CONCORD_DATA" placeholder:"DIR" help:"Data directory of the server."`
}

// Run prints the connection string, which holds the password.
func (c *dbURLCmd) Run() error {
	url, err := app.DatabaseURL(c.Data)
	if err != nil {
		return err
	}
	fmt.Println(url)
	return nil
}
