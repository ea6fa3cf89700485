//go:build linux

package perf

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/pulsestream/pulsestream/bench"
	"github.com/pulsestream/pulsestream/bench/load"
	"github.com/pulsestream/pulsestream/client"
)

const (
	freshRate   = 20_000 // events a second of an open loop
	freshBatch  = 100
	probesEvery = 50 * time.Millisecond
	probeLimit  = 30 * time.Second
	probeType   = "bench.probe"
	probePage   = 200 // many more than come between two looks
	probeTenant = 5   // with a load of its own, neither the largest nor a small one
)

// probe is an event whose way is followed.
type probe struct {
	due   time.Time
	acked time.Duration // from due on
	seen  time.Duration
	err   error
}

// fresh measures how long after sending an event can be queried, while many others come.
func (r *run) fresh(ctx context.Context) error {
	for i := range r.Runs {
		probes, sent, err := r.freshOnce(ctx)
		if err != nil {
			return err
		}
		var acked, seen []time.Duration
		for _, p := range probes {
			acked, seen = append(acked, p.acked), append(seen, p.seen)
		}
		l := bench.LatencyOf(seen)
		note := func(name string, v float64) { r.report.note("fresh", name, "ms", v) }
		note("sent to queryable p50", l.P50)
		note("sent to queryable p90", l.P90)
		note("sent to queryable p99", l.P99)
		note("sent to queryable max", l.Max)
		note("p99 of the worst second", worstSecond(probes))
		note("sent to answered p50", bench.LatencyOf(acked).P50)
		note("generator late, max", float64(sent.Late)/1e6)
		r.report.note("fresh", "load", "events/s", sent.Rate())
		r.say("fresh, run %d of %d: p50 %.1f, p99 %.1f, max %.1f ms of %d probes at %.0f events/s", i+1, r.Runs, l.P50, l.P99, l.Max, l.Count, sent.Rate())
	}
	return nil
}

// worstSecond is the p99 of the probes of the second that was worst: one in which the store puts things in order, if it stalls.
func worstSecond(probes []*probe) float64 {
	seconds := map[int64][]time.Duration{}
	for _, p := range probes {
		seconds[p.due.Unix()] = append(seconds[p.due.Unix()], p.seen)
	}
	worst := 0.0
	for _, times := range seconds {
		worst = max(worst, bench.LatencyOf(slices.Clone(times)).P99)
	}
	return worst
}

func (r *run) freshOnce(ctx context.Context) (probes []*probe, sent *load.Sent, err error) {
	st, err := r.open(ctx, "fresh", usual())
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, st.close()) }()
	p, err := load.NewPool(r.shape(freshBatch, 8), st.doors())
	if err != nil {
		return nil, nil, err
	}
	for range int(2 * r.For / probesEvery) {
		probes = append(probes, &probe{})
	}
	start := time.Now().Add(time.Second)
	failed := make(chan error, 1)
	go func() {
		var lerr error
		sent, lerr = p.Send(ctx, st.Address, load.Plan{For: 2*r.For + 2*time.Second, Rate: freshRate}, nil)
		failed <- lerr
	}()
	c := st.tenants[probeTenant%len(st.tenants)]
	var wg sync.WaitGroup
	for i, pr := range probes {
		pr.due = start.Add(time.Duration(i) * probesEvery)
		wg.Go(func() { pr.send(ctx, c, i) })
	}
	lerr := look(ctx, c, probes, start)
	wg.Wait()
	errs := []error{lerr, <-failed}
	for _, pr := range probes {
		errs = append(errs, pr.err)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, nil, err
	}
	// Nothing may be missing, and nothing counted twice.
	st.total, st.from = slices.Clone(sent.Tenants), start.Add(-time.Minute)
	st.total[probeTenant%len(st.total)] += len(probes)
	return probes, sent, st.await(ctx)
}

// send sends one event when it is due.
func (p *probe) send(ctx context.Context, c *client.Client, n int) {
	if p.err = wait(ctx, time.Until(p.due)); p.err != nil {
		return
	}
	e := client.Event{ID: strconv.Itoa(n), Source: "bench", Type: probeType, Data: map[string]any{"n": n}}
	if _, p.err = c.Send(ctx, e); p.err == nil {
		p.acked = time.Since(p.due)
	}
}

// look asks for the newest probes over and over, until all have been seen. It rests as long as an answer takes, so that looking does
// not become the load.
func look(ctx context.Context, c *client.Client, probes []*probe, start time.Time) error {
	limit := probes[len(probes)-1].due.Add(probeLimit)
	for missing := len(probes); missing > 0; {
		from := time.Now()
		found, _, err := c.Events(ctx, client.EventQuery{Type: probeType, From: start.Add(-time.Minute), Limit: probePage})
		at := time.Now()
		if err != nil {
			return err
		}
		for _, e := range found {
			n, err := strconv.Atoi(e.ID)
			if err != nil || n >= len(probes) {
				return fmt.Errorf("the event %q is no probe", e.ID)
			}
			if p := probes[n]; p.seen == 0 {
				p.seen = at.Sub(p.due)
				missing--
			}
		}
		if at.After(limit) {
			return fmt.Errorf("%d of %d events could not be queried within %s", missing, len(probes), probeLimit)
		}
		if err := wait(ctx, max(time.Millisecond, at.Sub(from))); err != nil {
			return err
		}
	}
	return nil
}

// wait waits, or returns the context's error when that ends first.
func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(max(0, d))
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
