// Command concord keeps the live state of Home Assistant homes in PostgreSQL
// and shows it as an area dashboard.
package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"
)

type commands struct {
	Serve      serveCmd      `cmd:"" help:"Run the server: homes, database, dashboard."`
	Doctor     doctorCmd     `cmd:"" help:"Find the error behind 'current transaction is aborted' in logs and servers."`
	Monitor    monitorCmd    `cmd:"" help:"Show conflicts as they happen."`
	Lab        labCmd        `cmd:"" help:"Reproduce conflicts on a PostgreSQL, by strategy."`
	Simhome    simhomeCmd    `cmd:"" help:"Run a simulated home that speaks Home Assistant's WebSocket API."`
	Export     exportCmd     `cmd:"" help:"Write history as CSV or JSON lines."`
	Quarantine quarantineCmd `cmd:"" help:"About records that could not be written."`
	Retention  retentionCmd  `cmd:"" help:"Drop old history now."`
	User       userCmd       `cmd:"" help:"About the people who sign in."`
	DB         dbCmd         `cmd:"" name:"db" help:"About the database."`
	Version    versionCmd    `cmd:"" help:"Print the version."`
}

func main() { os.Exit(run(os.Args[1:])) }

func run(args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var c commands
	parser, err := kong.New(&c, kong.Name("concord"), kong.UsageOnError(),
		kong.Description("Live Home Assistant homes in PostgreSQL, with a dashboard that never fails a page because two writers met."),
		kong.BindTo(ctx, (*context.Context)(nil)))
	if err != nil {
		return fail(err)
	}
	command, err := parser.Parse(args)
	if err != nil {
		parser.Errorf("%s", err)
		return 2
	}
	if hasPassword(args) {
		fmt.Fprintln(os.Stderr, "concord: all users of this machine see the password in that address while the command runs;",
			"concord", args[0], "--help names the variable that hides it")
	}
	return fail(command.Run())
}

// hasPassword tells an argument that is an address with a password.
func hasPassword(args []string) bool {
	for _, arg := range args {
		if name, value, found := strings.Cut(arg, "="); found && strings.HasPrefix(name, "--") {
			arg = value
		}
		u, err := url.Parse(arg)
		if err != nil || u.User == nil {
			continue
		}
		if _, secret := u.User.Password(); secret {
			return true
		}
	}
	return false
}

// fail prints an error as one line and returns the exit code: 1 unless the
// command chose another.
func fail(err error) int {
	if err == nil || errors.Is(err, context.Canceled) {
		return 0
	}
	if message := err.Error(); message != "" {
		fmt.Fprintln(os.Stderr, "concord:", strings.NewReplacer("\n\t", " ", "\n", "; ").Replace(message))
	}
	if exit, ok := errors.AsType[exitError](err); ok {
		return exit.code
	}
	return 1
}

type versionCmd struct{}

func (versionCmd) Run() error {
	fmt.Println(version())
	return nil
}

// version is set by the linker in releases.
var buildVersion string

func version() string {
	if buildVersion != "" {
		return buildVersion
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		return info.Main.Version
	}
	return "unknown"
}
