package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/pprof"
	"strings"
	"time"

	"github.com/pulsestream/pulsestream/bench"
	"github.com/pulsestream/pulsestream/internal/app"
	"github.com/pulsestream/pulsestream/internal/config"
)

type benchCmd struct {
	Address     string        `help:"Server to measure; one is started in this process, on a temporary directory, when missing." placeholder:"URL"`
	Key         string        `help:"API key of an editor or more. The events of the run stay: use a tenant that is there for it." env:"PULSESTREAM_API_KEY" placeholder:"KEY"`
	Parts       []string      `help:"What to measure. Of any server: chart, alert, ingest, query; these when missing. With servers of their own: ${perf_parts}. Or all."`
	Rate        float64       `help:"Events a second while chart and alert are measured." default:"1000"`
	Duration    time.Duration `help:"How long the chart is measured." default:"20s"`
	Probes      int           `help:"Events whose way to the chart is measured." default:"500"`
	Breaches    int           `help:"Breaches of rules." default:"25"`
	IngestFor   time.Duration `help:"How long ingest is measured." default:"10s"`
	Batch       int           `help:"Events in a request of the ingest part." default:"100"`
	Connections int           `help:"Connections of the ingest part." default:"8"`
	Queries     int           `help:"Charts to ask for." default:"200"`
	Receive     string        `help:"Where to receive webhooks; the server must be allowed to reach it (--egress-allow)." default:"127.0.0.1:0" placeholder:"HOST:PORT"`
	JSON        bool          `help:"Print the report as JSON." name:"json"`
	Check       bool          `help:"Fail when a goal is missed."`
	TempDir     string        `help:"Where the data directory of the server in this process is made; put it on the disk that is to be measured." type:"path" placeholder:"DIR"`
	Perf        perfFlags     `embed:""`
	CPUProfile  string        `help:"Write a CPU profile of this process, for go tool pprof." name:"cpu-profile" type:"path" placeholder:"FILE"`
}

// results are those of both kinds of parts; what was not measured is nil.
type results struct {
	Server   *bench.Report `json:"server"`
	Capacity *perfReport   `json:"capacity"`
}

// Run measures, prints, and fails when asked to check and a goal is missed.
func (c *benchCmd) Run(ctx context.Context) (err error) {
	var r results
	rest, own := splitParts(c.Parts)
	if len(own) > 0 && c.Address != "" {
		return fmt.Errorf("the parts %s start servers of their own: leave --address out", strings.Join(own, ", "))
	}
	if c.Parts = rest; len(rest) > 0 || len(own) == 0 {
		if r.Server, err = c.profiled(ctx); err != nil {
			return err
		}
	}
	if len(own) > 0 {
		if r.Capacity, err = c.Perf.measure(ctx, own, c.TempDir); err != nil {
			return err
		}
	}
	if err := r.write(c.JSON); err != nil || !c.Check {
		return err
	}
	return r.missed()
}

// write prints what there is.
func (r *results) write(asJSON bool) error {
	switch {
	case asJSON && r.Capacity == nil:
		return r.Server.WriteJSON(os.Stdout)
	case asJSON:
		e := json.NewEncoder(os.Stdout)
		e.SetIndent("", "  ")
		return e.Encode(r)
	}
	if r.Server != nil {
		if err := r.Server.WriteTable(os.Stdout); err != nil || r.Capacity == nil {
			return err
		}
		fmt.Println()
	}
	return r.Capacity.WriteTable(os.Stdout)
}

func (r *results) missed() error {
	var errs []error
	if r.Server != nil {
		errs = append(errs, r.Server.Missed())
	}
	if r.Capacity != nil {
		errs = append(errs, r.Capacity.Missed())
	}
	return errors.Join(errs...)
}

// profiled measures under the CPU profiler if that was asked for.
func (c *benchCmd) profiled(ctx context.Context) (report *bench.Report, err error) {
	if c.CPUProfile == "" {
		return c.measure(ctx)
	}
	f, err := os.Create(c.CPUProfile)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := pprof.StartCPUProfile(f); err != nil {
		return nil, err
	}
	defer pprof.StopCPUProfile()
	return c.measure(ctx)
}

func (c *benchCmd) measure(ctx context.Context) (report *bench.Report, err error) {
	cfg := bench.Config{Address: c.Address, Key: c.Key, Parts: c.Parts, Rate: c.Rate, Duration: c.Duration, Probes: c.Probes, Breaches: c.Breaches,
		IngestFor: c.IngestFor, BatchSize: c.Batch, Connections: c.Connections, Queries: c.Queries, Receive: c.Receive, Progress: os.Stderr}
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if c.Address != "" {
		return bench.Run(ctx, cfg)
	}
	dir, err := os.MkdirTemp(c.TempDir, "pulsestream-bench-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	serve := config.Serve{DataDir: dir, Listen: "127.0.0.1:0", Roles: []string{"all"}, EgressAllow: []string{"127.0.0.0/8", "::1/128"}, Partitions: 4}
	var announced strings.Builder
	a, err := app.New(ctx, serve, config.Secrets{}, app.Options{Version: version, Log: app.NewLogger(os.Stderr, "text", "warn"), Announce: &announced, Now: time.Now})
	if err != nil {
		return nil, err
	}
	if err = a.Start(ctx); err == nil {
		cfg.Address, cfg.Key, cfg.InProcess = "http://"+a.Addr(), a.BootstrapKey(), true
		report, err = bench.Run(ctx, cfg)
	}
	bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), config.ShutdownTimeout)
	defer cancel()
	if err = errors.Join(err, a.Stop(bounded)); err != nil {
		return nil, err
	}
	report.Disk, err = weigh(&serve, report.Events())
	return report, err
}

// weigh says what events take on disk, once the server has stopped and with that written everything to its place.
func weigh(serve *config.Serve, events int) (*bench.Disk, error) {
	if events == 0 {
		return nil, nil
	}
	log, err := sizeOf(serve.LogDir())
	if err != nil {
		return nil, err
	}
	store := int64(0)
	files, err := filepath.Glob(serve.EventsPath() + "*")
	for _, f := range files {
		size, serr := sizeOf(f)
		store, err = store+size, errors.Join(err, serr)
	}
	n := float64(events)
	return &bench.Disk{Events: events, LogPerEvent: float64(log) / n, StorePerEvent: float64(store) / n}, err
}

// sizeOf is the length of a file, or of all files below a directory.
func sizeOf(path string) (total int64, err error) {
	err = filepath.WalkDir(path, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return fmt.Errorf("look at the size of files: %w", err)
		}
		total += info.Size()
		return nil
	})
	return total, err
}
