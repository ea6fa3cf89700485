//go:build linux

package perf

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/pulsestream/pulsestream/bench"
	"github.com/pulsestream/pulsestream/bench/load"
	"github.com/pulsestream/pulsestream/bench/rig"
)

const (
	ceilingsPart = "ceilings"
	ceilingFor   = 2 * time.Second
	small, large = 4 << 10, 300 << 10 // about a single event, and a batch of a thousand
)

// ceilings measures what the machine can do, once for a run.
func (r *run) ceilings(ctx context.Context) error {
	if r.report.figure(ceilingsPart, "JSON scan, CPU an event") > 0 {
		return nil
	}
	r.say("The machine's ceilings")
	p, err := load.NewPool(load.Shape{Tenants: 1, Batch: 1000, Connections: 1, Pool: pool, Seed: 2}, make([]load.Door, 1))
	if err != nil {
		return err
	}
	for range r.Runs {
		if err := r.fsyncs(); err != nil {
			return err
		}
		if err := r.scan(p); err != nil {
			return err
		}
		if err := r.appender(ctx, p); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// fsyncs measures how often something can be written and made durable, one after the other.
func (r *run) fsyncs() (err error) {
	dir, done, err := r.dir()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, done()) }()
	for _, size := range []int{small, large} {
		name := fmt.Sprintf("%d KiB", size>>10)
		f, err := os.Create(filepath.Join(dir, name))
		if err != nil {
			return err
		}
		block := make([]byte, size)
		var times []time.Duration
		start := time.Now()
		for time.Since(start) < ceilingFor/2 {
			block[len(times)%size]++
			from := time.Now()
			if _, err := f.Write(block); err != nil {
				return errors.Join(err, f.Close())
			}
			if err := f.Sync(); err != nil {
				return errors.Join(err, f.Close())
			}
			times = append(times, time.Since(from))
		}
		l := bench.LatencyOf(times)
		r.report.note(ceilingsPart, "write and fsync of "+name, "/s", float64(len(times))/time.Since(start).Seconds())
		r.report.note(ceilingsPart, "write and fsync of "+name+" p50", "ms", l.P50)
		r.report.note(ceilingsPart, "write and fsync of "+name+" p99", "ms", l.P99)
		if err := f.Close(); err != nil {
			return err
		}
	}
	return nil
}

// scan measures how long the standard library looks at the events' JSON without keeping anything of it.
func (r *run) scan(p *load.Pool) error {
	events, valid := 0, true
	own, start := ownCPU(), time.Now()
	for time.Since(start) < ceilingFor/2 && valid {
		p.Lines(func(_ int, line []byte) bool {
			events++
			valid = valid && json.Valid(line)
			return events%1000 > 0 || time.Since(start) < ceilingFor/2
		})
	}
	if !valid {
		return errors.New("the load is no JSON")
	}
	n := float64(events)
	r.report.note(ceilingsPart, "JSON scan", "events/s", n/time.Since(start).Seconds())
	r.report.note(ceilingsPart, "JSON scan, CPU an event", "µs", micros(ownCPU()-own, n))
	return nil
}

// noop is what a server that only reads requests and answers them does with a load.
type noop struct {
	rate, cpu float64
	answer    bench.Latency
}

func meanOf(a, b *noop) *noop {
	return &noop{rate: (a.rate + b.rate) / 2, cpu: (a.cpu + b.cpu) / 2, answer: bench.Latency{P50: (a.answer.P50 + b.answer.P50) / 2, P99: (a.answer.P99 + b.answer.P99) / 2}}
}

// noop sends a load to such a server, in a process of its own.
func (r *run) noop(ctx context.Context, batch, connections int) (n *noop, err error) {
	s, err := rig.Start(ctx, rig.Command{Binary: r.Binary, Args: []string{"bench-noop"}, Log: r.Progress})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.Kill()) }()
	doors := make([]load.Door, r.Tenants)
	for i := range doors {
		doors[i] = load.Door{Host: s.Address, Key: rig.AdminKey}
	}
	p, err := load.NewPool(r.shape(batch, connections), doors)
	if err != nil {
		return nil, err
	}
	sent, err := p.Send(ctx, s.Address, load.Plan{For: ceilingFor, AnyCount: true}, nil)
	if err != nil {
		return nil, fmt.Errorf("the no-op server: %w", err)
	}
	cpu, err := s.CPU()
	return &noop{rate: sent.Rate(), cpu: micros(cpu, float64(sent.Events)), answer: bench.LatencyOf(sent.Times)}, err
}
