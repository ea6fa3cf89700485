//go:build linux

// Command faultrun breaks a PulseStream server in every way and checks that nothing was lost and nothing counted twice.
// It is for tests only: see `make fault`, and docs/reliability.md.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"

	"github.com/pulsestream/pulsestream/fault"
)

func main() {
	if fault.Serve() {
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx)
	stop()
	os.Exit(code)
}

func run(ctx context.Context) int {
	if len(os.Args) == 2 && os.Args[1] == fault.FloodCommand {
		if err := fault.Flood(ctx, os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, "faultrun:", err)
			return 1
		}
		return 0
	}
	binary := flag.String("binary", "bin/pulsestream", "the server to break")
	plain := flag.String("plain", "", "the same server without the build tag faults, for scenarios that mend it")
	dir := flag.String("dir", fault.DefaultDir(), "where data, logs and ledgers go")
	match := flag.String("run", "", "regular expression of the scenarios to run; all when empty")
	except := flag.String("except", "", "regular expression of the scenarios to leave out")
	long := flag.Bool("long", false, "the long form, for a night")
	runs := flag.Int("runs", 0, "runs of each scenario; 0: as the form says")
	seed := flag.Uint64("seed", uint64(time.Now().UnixNano()%1e9), "of the first run of each scenario; the next has the next one")
	keep := flag.Bool("keep", false, "keep the files of good runs too")
	list := flag.Bool("list", false, "list the scenarios")
	flag.Parse()
	if *list {
		fault.List(os.Stdout)
		return 0
	}
	path, err := filepath.Abs(*binary)
	if err != nil {
		fmt.Fprintln(os.Stderr, "faultrun:", err)
		return 2
	}
	if _, err := os.Stat(path); err != nil {
		fmt.Fprintf(os.Stderr, "faultrun: there is no server to break: %v: run make build, or name one with -binary\n", err)
		return 2
	}
	only, err := regexp.Compile(*match)
	if err != nil {
		fmt.Fprintln(os.Stderr, "faultrun: -run:", err)
		return 2
	}
	not, err := regexp.Compile(*except)
	if err != nil {
		fmt.Fprintln(os.Stderr, "faultrun: -except:", err)
		return 2
	}
	fmt.Printf("faultrun: seed %d\n", *seed)
	cfg := fault.Config{Binary: path, Plain: *plain, Dir: *dir, Match: only.MatchString, Long: *long, Runs: *runs, Seed: *seed, Keep: *keep, Out: os.Stdout,
		Replay: strings.Join([]string{os.Args[0], "-binary", *binary}, " ")}
	if *except != "" {
		cfg.Match = func(name string) bool { return only.MatchString(name) && !not.MatchString(name) }
	}
	if _, err := fault.Run(ctx, cfg); err != nil {
		fmt.Fprintln(os.Stderr, "faultrun:", err)
		return 1
	}
	return 0
}
