// Package bench measures a running PulseStream server through the public client: how long an event takes to the chart, how
// long a breach of a rule takes to the webhook, how much is ingested, and how fast a chart is answered.
//
// It knows nothing of the server's inside. All latencies are differences of this process's own clock, from just before a
// request is sent, and load is paced by a plan that does not slow down when the server does: what waits, waits on the record.
package bench

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"slices"
	"time"

	"github.com/pulsestream/pulsestream/client"
)

// Parts of a run.
const (
	PartChart  = "chart"
	PartAlert  = "alert"
	PartIngest = "ingest"
	PartQuery  = "query"
)

// Parts returns all parts, in the order in which they run.
func Parts() []string { return []string{PartChart, PartAlert, PartIngest, PartQuery} }

// Config is what to measure, and where.
type Config struct {
	Address string // such as http://127.0.0.1:8080
	Key     string // of a role that may write metrics, rules and channels: editor or more
	// InProcess says that the server runs in this process, so that the CPU time it reports is also the generator's.
	InProcess bool

	Parts       []string      // empty: all
	Rate        float64       // events a second while chart and alert are measured
	Duration    time.Duration // of the chart part
	Probes      int           // events whose way to the chart is measured
	Breaches    int           // of rules
	IngestFor   time.Duration // how long as many events are sent as go
	BatchSize   int           // events in a request of the ingest part
	Connections int           // of the ingest part
	Queries     int
	// Receive is where webhooks are received, HOST:PORT; the server must be able, and allowed, to reach it.
	Receive string

	Progress io.Writer
}

// Validate says all that is wrong.
func (c *Config) Validate() error {
	var errs []error
	for _, p := range c.Parts {
		if !slices.Contains(Parts(), p) {
			errs = append(errs, fmt.Errorf("there is no part %q: it is one of %v", p, Parts()))
		}
	}
	if c.Rate < 1 || c.Rate > 1e6 {
		errs = append(errs, errors.New("the rate must be 1 to 1 000 000 events a second"))
	}
	if c.Duration < time.Second || c.IngestFor < time.Second || c.Duration > time.Hour || c.IngestFor > time.Hour {
		errs = append(errs, errors.New("durations must be 1s to 1h"))
	}
	if c.BatchSize < 1 || c.BatchSize > 10_000 {
		errs = append(errs, errors.New("a request has 1 to 10 000 events"))
	}
	if c.Probes < 1 || c.Breaches < 1 || c.Queries < 1 || c.Connections < 1 || c.Connections > 1000 {
		errs = append(errs, errors.New("numbers of probes, breaches, queries and connections (at most 1000) must be positive"))
	}
	if n := lanesFor(c.Duration, c.Probes); n > maxLanes {
		errs = append(errs, fmt.Errorf("%d probes in %s are too many: each needs a subscription of its own for %s, and there are at most %d", c.Probes, c.Duration, laneRest, maxLanes))
	}
	return errors.Join(errs...)
}

func (c *Config) wants(part string) bool { return len(c.Parts) == 0 || slices.Contains(c.Parts, part) }

// run is one run of the benchmark.
type run struct {
	Config
	client *client.Client
	id     string // makes the names of this run its own: sources, the metric, rules, the channel
	plain  *http.Client
}

func (r *run) source(kind string) string { return "bench-" + r.id + "-" + kind }

func (r *run) say(format string, args ...any) { fmt.Fprintf(r.Progress, format+"\n", args...) }

// Run measures what cfg asks for. What it creates on the server apart from events, it deletes at the end.
func Run(ctx context.Context, cfg Config) (*Report, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	var id [3]byte
	_, _ = rand.Read(id[:]) // never fails
	r := &run{Config: cfg, client: client.New(cfg.Address, cfg.Key), id: hex.EncodeToString(id[:]), plain: &http.Client{Timeout: 5 * time.Second}}
	if err := r.client.Ready(ctx); err != nil {
		return nil, fmt.Errorf("the server at %s cannot take events: %w", cfg.Address, err)
	}
	report := &Report{Started: time.Now().UTC(), Machine: Machine{CPUs: runtime.NumCPU(), Platform: runtime.GOOS + "/" + runtime.GOARCH, Go: runtime.Version(), Load: loadAverage()},
		InProcess: cfg.InProcess}
	if err := r.prepare(ctx); err != nil {
		return nil, err
	}
	defer r.tidy(context.WithoutCancel(ctx))
	for _, p := range []struct {
		name string
		do   func(context.Context, *Report) error
	}{{PartChart, r.chart}, {PartAlert, r.alert}, {PartIngest, r.ingest}, {PartQuery, r.query}} {
		if !cfg.wants(p.name) {
			continue
		}
		if err := p.do(ctx, report); err != nil {
			if ctx.Err() != nil {
				return nil, errors.New("stopped before the end: there is no result")
			}
			return nil, fmt.Errorf("measure %s: %w", p.name, err)
		}
	}
	return report, nil
}

// metric is a metric of this run's load, so that the stream computes more than the one that is built in.
func (r *run) metric() string { return "bench-" + r.id }

func (r *run) prepare(ctx context.Context) error {
	_, err := r.client.PutMetric(ctx, client.Metric{Slug: r.metric(), Name: "Benchmark " + r.id, EventTypes: []string{loadType + "*"},
		Filter: fmt.Sprintf("source.startsWith(%q)", r.source(kindLoad)), Value: "data.amount / 100.0",
		Dimensions: map[string]string{"country": "data.country", "status": "data.status"}})
	if err != nil {
		return fmt.Errorf("create the metric of the run: %w", err)
	}
	return until(ctx, 30*time.Second, 50*time.Millisecond, "the metric of the run is filled", func() (bool, error) {
		m, err := r.client.Metric(ctx, r.metric())
		return err == nil && (m.Fill == nil || m.Fill.State == "done"), err
	})
}

func (r *run) tidy(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if err := r.client.DeleteMetric(ctx, r.metric()); err != nil && client.StatusOf(err) != http.StatusNotFound {
		r.say("The metric %s could not be deleted: %v", r.metric(), err)
	}
}

// until polls a condition.
func until(ctx context.Context, limit, every time.Duration, what string, done func() (bool, error)) error {
	deadline := time.Now().Add(limit)
	for {
		ok, err := done()
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case ok:
			return nil
		case time.Now().After(deadline) && err != nil:
			return fmt.Errorf("waited %s until %s: %w", limit, what, err)
		case time.Now().After(deadline):
			return fmt.Errorf("waited %s until %s, in vain", limit, what)
		}
		if err := sleep(ctx, every); err != nil {
			return err
		}
	}
}

// sleep waits, or returns the context's error when that ends first.
func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
