// Command pulsestream is the control tower for the APIs a company lives on. See pulsestream --help.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"
)

// version is set by the linker.
var version = "dev"

// cli is the command line.
type cli struct {
	Config kong.ConfigFlag `help:"A YAML file with the same keys as the flags." placeholder:"FILE"`

	Serve   serveCmd   `cmd:"" help:"Run the server."`
	Demo    demoCmd    `cmd:"" help:"Run a server with simulated traffic, and see an outage caught."`
	Bench   benchCmd   `cmd:"" help:"Measure a server: event to chart, breach to webhook, ingest, query, and how near it comes to what the machine can do."`
	Verify  verifyCmd  `cmd:"" help:"Check that nothing is lost, nothing is stored twice, and every number is what the raw events say."`
	Backup  backupCmd  `cmd:"" help:"Back up a data directory, while its server runs or not; a backup into the same directory again adds what is new."`
	Restore restoreCmd `cmd:"" help:"Make a data directory from a backup, or only verify the backup."`
	Audit   auditCmd   `cmd:"" help:"Check a copy of an audit log."`
	Version versionCmd `cmd:"" help:"Print the version."`

	BenchServe benchServeCmd `cmd:"" hidden:"" help:"Run the server for bench, which may ask for a CPU profile."`
	BenchNoop  benchNoopCmd  `cmd:"" hidden:"" help:"Run a server that does nothing, for bench to compare with."`
}

type versionCmd struct{}

func (versionCmd) Run() error {
	_, err := fmt.Println(version)
	return err
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:])
	stop()
	os.Exit(code)
}

// run is the whole program but for signals and the exit.
func run(ctx context.Context, args []string) int {
	var c cli
	parser, err := kong.New(&c, kong.Name("pulsestream"), kong.UsageOnError(), kong.DefaultEnvars("PULSESTREAM"),
		kong.Description("A control tower for the APIs your company lives on: vendors' webhooks and your own events in, live metrics and alerts out."),
		kong.Configuration(yamlResolver), kong.Vars{"perf_parts": perfParts()}, kong.BindTo(ctx, (*context.Context)(nil)))
	if err != nil {
		fmt.Fprintln(os.Stderr, "pulsestream:", err)
		return 2
	}
	if len(args) == 0 {
		args = []string{"--help"}
	}
	command, err := parser.Parse(args)
	if err != nil {
		var parse *kong.ParseError
		fmt.Fprintln(os.Stderr, "pulsestream:", err)
		if errors.As(err, &parse) {
			fmt.Fprintln(os.Stderr, "Run pulsestream --help to see what there is.")
		}
		return 2
	}
	if err := command.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "pulsestream:", err)
		return 1
	}
	return 0
}
