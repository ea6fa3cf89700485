//go:build linux

package main

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/pulsestream/pulsestream/bench"
	"github.com/pulsestream/pulsestream/bench/perf"
)

// perfFlags are of the parts that start servers of their own.
type perfFlags struct {
	Runs     int           `help:"How often each part with a server of its own is measured; medians are reported." default:"5"`
	For      time.Duration `help:"How long such a part sends." default:"10s"`
	Tenants  int           `help:"Tenants of such a part." default:"50"`
	Events   int           `help:"Events stored in the read, disk and report parts." default:"5000000"`
	Clients  int           `help:"WebSocket clients of the live part." default:"10000"`
	Profiles string        `help:"Write profiles of the servers while they work into a directory: of CPU time, and of where memory was asked for." type:"path" placeholder:"DIR"`
}

type perfReport = perf.Report

func perfParts() string { return strings.Join(perf.Parts(), ", ") }

// splitParts tells the parts that start servers of their own from the others; all is both.
func splitParts(all []string) (rest, own []string) {
	for _, p := range all {
		switch {
		case p == "all":
			return bench.Parts(), perf.Parts()
		case slices.Contains(perf.Parts(), p):
			own = append(own, p)
		default:
			rest = append(rest, p)
		}
	}
	return rest, own
}

// measure measures the parts that start servers of their own.
func (f *perfFlags) measure(ctx context.Context, parts []string, tempDir string) (*perfReport, error) {
	binary, err := os.Executable()
	if err != nil {
		return nil, err
	}
	if f.Profiles != "" {
		if err := os.MkdirAll(filepath.Clean(f.Profiles), 0o755); err != nil { //nolint:gosec // profiles are no secret
			return nil, err
		}
	}
	return perf.Run(ctx, perf.Config{Binary: binary, Parts: parts, Runs: f.Runs, For: f.For, Tenants: f.Tenants, Events: f.Events, Clients: f.Clients,
		TempDir: tempDir, Profile: f.Profiles, Progress: os.Stderr})
}
