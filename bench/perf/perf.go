//go:build linux

package perf

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

// Config is what to measure, and how long.
type Config struct {
	Binary  string   // of the server, which also has the hidden commands that this package starts
	Parts   []string // of Parts
	Runs    int      // how often each is measured; medians are reported
	For     time.Duration
	Tenants int
	Events  int // of the read, disk and report parts
	Clients int // of the live part
	TempDir string
	// Profile is a directory for CPU profiles of the server while it works, one a measurement.
	Profile  string
	Progress io.Writer
}

// part is something to measure by itself.
type part struct {
	name string
	do   func(*run, context.Context) error
}

func parts() []part {
	return []part{
		{ceilingsPart, (*run).ceilings},
		closed("batch-1000", 1000, 8), closed("single", 1, 64), closed("batch-100", 100, 16), closed("batch-5000", 5000, 4),
		{"fresh", (*run).fresh}, {"scaling", (*run).scaling}, {"series", (*run).series}, {"live", (*run).live},
		{"read", func(r *run, ctx context.Context) error { return r.stored(ctx, true) }},
		{"disk", func(r *run, ctx context.Context) error { return r.stored(ctx, false) }},
		{reportPart, (*run).reports},
	}
}

// closed is a part that sends as fast as answers come.
func closed(name string, batch, connections int) part {
	return part{name, func(r *run, ctx context.Context) error { return r.work(ctx, name, batch, connections) }}
}

// Parts returns the names of all parts, in the order in which they run.
func Parts() []string {
	var names []string
	for _, p := range parts() {
		names = append(names, p.name)
	}
	return names
}

// Validate says all that is wrong.
func (c *Config) Validate() error {
	var errs []error
	for _, p := range c.Parts {
		if !slices.Contains(Parts(), p) {
			errs = append(errs, fmt.Errorf("there is no part %q: it is one of %s", p, strings.Join(Parts(), ", ")))
		}
	}
	if c.Runs < 1 || c.Runs > 100 || c.For < time.Second || c.For > time.Hour {
		errs = append(errs, errors.New("runs must be 1 to 100, and a load lasts 1s to 1h"))
	}
	if c.Tenants < 1 || c.Tenants > 1000 || c.Events < 10_000 || c.Clients < 1 {
		errs = append(errs, errors.New("tenants must be 1 to 1000, events at least 10 000, clients at least 1"))
	}
	return errors.Join(errs...)
}

// run is one run of the benchmark.
type run struct {
	Config
	report *Report
	n      int // directories and profiles made
}

func (r *run) say(format string, args ...any) { fmt.Fprintf(r.Progress, format+"\n", args...) }

// Run measures what cfg asks for.
func Run(ctx context.Context, cfg Config) (*Report, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	r := &run{Config: cfg, report: &Report{Started: time.Now().UTC(), CPUs: runtime.NumCPU(), Processor: processor(), Go: runtime.Version(), Load: loadAverage(), Runs: cfg.Runs}}
	for _, p := range parts() {
		if !slices.Contains(cfg.Parts, p.name) {
			continue
		}
		if err := p.do(r, ctx); err != nil {
			return nil, fmt.Errorf("measure %s: %w", p.name, err)
		}
	}
	return r.report, nil
}

// dir makes a directory for one measurement; done removes it.
func (r *run) dir() (dir string, done func() error, err error) {
	dir, err = os.MkdirTemp(r.TempDir, "pulsestream-bench-")
	return dir, func() error { return os.RemoveAll(dir) }, err
}

// profile is a file for the next profile, empty when none are wanted.
func (r *run) profile(name string) string {
	if r.Profile == "" {
		return ""
	}
	r.n++
	return filepath.Join(r.Profile, fmt.Sprintf("%s-%d.pprof", name, r.n))
}

// processor is what the machine says it computes with; empty where it does not.
func processor() string {
	text, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(text)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// loadAverage is what the system says of the last minute.
func loadAverage() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return ""
	}
	first, _, _ := strings.Cut(string(text), " ")
	return first
}
