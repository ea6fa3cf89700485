//go:build linux

package perf

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/pulsestream/pulsestream/bench"
	"github.com/pulsestream/pulsestream/bench/load"
	"github.com/pulsestream/pulsestream/bench/rig"
)

// Work is a load, from its first request until all of it could be queried.
type Work struct {
	Name       string  `json:"name"`
	Events     int     `json:"events"`
	EventBytes float64 `json:"json_bytes_per_event"`
	Accepted   float64 `json:"accepted_per_second"`
	Committed  float64 `json:"committed_per_second"`
	// CPU is the server's time for an event from the start until all was committed; Settled is until it had stopped, cleanly.
	CPU       float64 `json:"cpu_us_per_event"`
	Settled   float64 `json:"cpu_us_per_event_until_stopped"`
	Generator float64 `json:"generator_cpu_us_per_event"`
	// Others is how many cores processes used that have nothing to do with it: with many, rates and latencies are not the server's.
	Others  float64       `json:"cores_used_by_others"`
	Answer  bench.Latency `json:"answer"`
	Refused int           `json:"refused_requests"`
	Broken  int           `json:"broken_connections"`
	Peak    float64       `json:"peak_memory_mb"`
	Log     float64       `json:"log_bytes_per_event"`
	Store   float64       `json:"store_bytes_per_event"`
	// Running is the store before the stop.
	Running float64 `json:"store_bytes_per_event_running"`

	before time.Duration // the server's CPU time before
}

// pool is how many events a load has before they come again with other ids, times and numbers.
const pool = 256_000

// shape is the load of a work.
func (r *run) shape(batch, connections int) load.Shape {
	return load.Shape{Tenants: r.Tenants, Batch: batch, Connections: connections, Pool: pool, Seed: 1}
}

const (
	acceptedName  = "accepted"
	committedName = "committed"
	cpuName       = "CPU an event"
	p99Name       = "answered p99"
	peakName      = "peak memory"
	storeName     = "store an event"
)

// work measures a closed loop several times, and the same loop against a server that does nothing before and after each: machines change within
// seconds.
func (r *run) work(ctx context.Context, name string, batch, connections int) error {
	if err := r.ceilings(ctx); err != nil {
		return err
	}
	for i := range r.Runs {
		before, err := r.noop(ctx, batch, connections)
		if err != nil {
			return err
		}
		w, err := r.once(ctx, name, usual(), r.shape(batch, connections), load.Plan{For: r.For})
		if err != nil {
			return err
		}
		after, err := r.noop(ctx, batch, connections)
		if err != nil {
			return err
		}
		r.say("%s, run %d of %d: %.0f events/s committed (%.0f accepted), %.2f µs CPU an event (%.2f until stopped, generator %.2f), p99 %.1f ms, %.0f MB, log %.0f B, store %.0f B an event; %d refused, %d broken; others used %.1f cores",
			name, i+1, r.Runs, w.Committed, w.Accepted, w.CPU, w.Settled, w.Generator, w.Answer.P99, w.Peak, w.Log, w.Store, w.Refused, w.Broken, w.Others)
		r.report.Works = append(r.report.Works, *w)
		r.noteWork(w, meanOf(before, after))
	}
	return nil
}

// noteWork compares a load with what the parts of the work take by themselves.
func (r *run) noteWork(w *Work, bare *noop) {
	note := func(name, unit string, value float64, of ...ceiling) { r.report.note(w.Name, name, unit, value, of...) }
	appender := r.report.figure(ceilingsPart, "bare DuckDB Appender")
	parts := bare.cpu + r.report.figure(ceilingsPart, "JSON scan, CPU an event") + r.report.figure(ceilingsPart, "bare DuckDB Appender, CPU an event")
	sync := "300 KiB"
	if w.Name == "single" {
		sync = "4 KiB"
	}
	fsync := func(p string) float64 { return r.report.figure(ceilingsPart, "write and fsync of "+sync+" "+p) }
	note(acceptedName, "events/s", w.Accepted, ceiling{"no-op server", bare.rate})
	note(committedName, "events/s", w.Committed, ceiling{"the slower of no-op server and bare Appender", min(bare.rate, appender)})
	note(cpuName, "µs", w.CPU, ceiling{"no-op server + JSON scan + bare Appender", parts})
	note("CPU an event until stopped", "µs", w.Settled, ceiling{"no-op server + JSON scan + bare Appender", parts})
	note("answered p50", "ms", w.Answer.P50, ceiling{"no-op server + fsync", bare.answer.P50 + fsync("p50")})
	note("answered p90", "ms", w.Answer.P90)
	note(p99Name, "ms", w.Answer.P99, ceiling{"no-op server + fsync", bare.answer.P99 + fsync("p99")})
	note("answered max", "ms", w.Answer.Max)
	note(peakName, "MB", w.Peak)
	note("cores used by other processes", "", w.Others)
	note("log an event", "B", w.Log, ceiling{"its JSON", w.EventBytes})
	note(storeName, "B", w.Store, ceiling{"its JSON", w.EventBytes})
}

// load sends a load, and waits until it is all committed. A second one of the same seed would have the same ids: it would not count.
func (s *site) load(ctx context.Context, name string, p *load.Pool, plan load.Plan) (*Work, error) {
	return s.loadCounting(ctx, name, p, plan, nil)
}

// loadCounting is load that counts accepted events as it goes.
func (s *site) loadCounting(ctx context.Context, name string, p *load.Pool, plan load.Plan, live *atomic.Int64) (*Work, error) {
	s.ResetPeak()
	before, err := s.CPU()
	if err := errors.Join(err, s.record()); err != nil {
		return nil, err
	}
	busy, err := rig.Busy()
	if err != nil {
		return nil, err
	}
	own, start := ownCPU(), time.Now()
	sent, err := p.Send(ctx, s.Address, plan, live)
	if err != nil {
		return nil, err
	}
	generator := ownCPU() - own
	from := start.Add(-plan.History - time.Second)
	if s.total == nil {
		s.total, s.from = make([]int, len(sent.Tenants)), from
	}
	for i, n := range sent.Tenants {
		s.total[i] += n
	}
	if err := s.await(ctx); err != nil {
		return nil, err
	}
	took := time.Since(start)
	end, err := s.CPU()
	peak, err2 := s.Peak()
	all, err3 := rig.Busy()
	if err := errors.Join(err, err2, err3, s.record()); err != nil {
		return nil, err
	}
	others := all - busy - (end - before) - (ownCPU() - own)
	n := float64(sent.Events)
	return &Work{Name: name, Events: sent.Events, EventBytes: p.EventBytes(), Accepted: sent.Rate(), Committed: n / took.Seconds(), CPU: micros(end-before, n),
		Generator: micros(generator, n), Answer: bench.LatencyOf(sent.Times), Refused: sent.Refused, Broken: sent.Broken, Peak: float64(peak) / 1e6, before: before,
		Others: max(0, others.Seconds()/took.Seconds())}, nil
}

// finish stops a server that has had one load, and looks at what it leaves.
func (s *site) finish(w *Work) error {
	n := float64(w.Events)
	running, err := rig.Weigh(s.Dir)
	if err != nil {
		return err
	}
	total, err := s.Stop()
	if err != nil {
		return err
	}
	disk, err := rig.Weigh(s.Dir)
	if err != nil {
		return fmt.Errorf("weigh what the server has left: %w", err)
	}
	w.Running, w.Settled = float64(running.Store)/n, micros(total-w.before, n)
	w.Log, w.Store = float64(disk.Log)/n, float64(disk.Store)/n
	return nil
}

func micros(d time.Duration, events float64) float64 {
	return float64(d) / float64(time.Microsecond) / events
}

// ownCPU is the CPU time that this process has used so far.
func ownCPU() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
