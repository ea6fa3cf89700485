//go:build linux

package perf

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/pulsestream/pulsestream/bench/load"
	"github.com/pulsestream/pulsestream/client"
)

// idle is n metrics of types that never come: half of them name a type, half a family of types.
func idle(n int) setting {
	var s setting
	for i := range n {
		types := []string{fmt.Sprintf("charge.never.%d", i)}
		if i%2 == 1 {
			types = []string{fmt.Sprintf("charge.never.%d.*", i)}
		}
		s.metrics = append(s.metrics, client.Metric{Slug: fmt.Sprintf("idle-%d", i), EventTypes: types, Filter: "data.amount > 100", Value: "data.amount / 100.0",
			Dimensions: map[string]string{"currency": "data.currency"}})
	}
	return s
}

// scaling measures whether metrics that do not match cost anything: one tenant with more and more of them.
func (r *run) scaling(ctx context.Context) error {
	one := *r
	one.Tenants = 1
	for i := range r.Runs {
		var rates, costs []float64
		for _, n := range []int{1, 10, 100, 1000} {
			name := fmt.Sprintf("scaling, %d metrics", n)
			w, err := one.once(ctx, name, idle(n), one.shape(1000, 8), load.Plan{For: r.For})
			if err != nil {
				return err
			}
			r.say("%s, run %d of %d: %.0f events/s committed, %.2f µs CPU an event", name, i+1, r.Runs, w.Committed, w.CPU)
			r.report.Works = append(r.report.Works, *w)
			r.report.note("scaling", fmt.Sprintf("%d metrics, committed", n), "events/s", w.Committed)
			r.report.note("scaling", fmt.Sprintf("%d metrics, CPU an event", n), "µs", w.CPU)
			rates, costs = append(rates, w.Committed), append(costs, w.CPU)
		}
		r.report.note("scaling", "slowest of fastest", "", slices.Min(rates)/slices.Max(rates))
		r.report.note("scaling", "cheapest of dearest, by CPU an event", "", slices.Min(costs)/slices.Max(costs))
	}
	return nil
}

const (
	manySeries    = 100_000
	seriesTenants = 25 // a metric has 5 000 series at most
	steadyRate    = 20_000
)

// series measures the memory of a server that has many series, at a steady rate.
func (r *run) series(ctx context.Context) error {
	many := *r
	many.Tenants = seriesTenants
	set := setting{metrics: []client.Metric{{Slug: "many", EventTypes: []string{"charge.*", "payment_intent.*", "mail.*"}, Dimensions: map[string]string{"series": "data.series"}}}}
	shape := load.Shape{Tenants: seriesTenants, Batch: 100, Connections: 8, Pool: pool, Seed: 1, Even: true, Series: manySeries / seriesTenants}
	for i := range r.Runs {
		w, resident, err := many.steady(ctx, set, shape)
		if err != nil {
			return err
		}
		r.say("series, run %d of %d: %.0f events/s, peak %.0f MB, %.0f MB at the end", i+1, r.Runs, w.Committed, w.Peak, resident)
		r.report.Works = append(r.report.Works, *w)
		r.report.note("series", peakName, "MB", w.Peak)
		r.report.note("series", "memory at the end", "MB", resident)
		r.report.note("series", cpuName, "µs", w.CPU)
		r.report.note("series", "load", "events/s", w.Accepted)
	}
	return nil
}

// steady sends at an even rate for three times as long as other parts do, so that every series has come and comes again.
func (r *run) steady(ctx context.Context, set setting, shape load.Shape) (w *Work, resident float64, err error) {
	st, err := r.open(ctx, "series", set)
	if err != nil {
		return nil, 0, err
	}
	defer func() { err = errors.Join(err, st.close()) }()
	p, err := load.NewPool(shape, st.doors())
	if err != nil {
		return nil, 0, err
	}
	w, err = st.load(ctx, "series", p, load.Plan{For: max(3*r.For, 30*time.Second), Rate: steadyRate})
	if err != nil {
		return nil, 0, err
	}
	now, err := st.Resident()
	return w, float64(now) / 1e6, errors.Join(err, st.finish(w))
}

// once opens a site, sends a load to it and closes it.
func (r *run) once(ctx context.Context, name string, set setting, shape load.Shape, plan load.Plan) (w *Work, err error) {
	st, err := r.open(ctx, name, set)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, st.close()) }()
	p, err := load.NewPool(shape, st.doors())
	if err != nil {
		return nil, err
	}
	if w, err = st.load(ctx, name, p, plan); err != nil {
		return nil, err
	}
	return w, st.finish(w)
}
