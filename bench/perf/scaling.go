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

// scaling measures whether metrics that do not match cost anything: one tenant with more and more of them. A machine's speed changes from
// one minute to the next by more than they cost. So each round has another order, what is compared is how a number of metrics does against
// the mean of its round, and of that the medians.
func (r *run) scaling(ctx context.Context) error {
	one := *r
	one.Tenants = 1
	numbers := []int{1, 10, 100, 1000}
	rates, costs := newRounds(len(numbers)), newRounds(len(numbers))
	for i := range r.Runs {
		for j := range numbers {
			at := (i + j) % len(numbers)
			n := numbers[at]
			name := fmt.Sprintf("scaling, %d metrics", n)
			w, err := one.once(ctx, name, idle(n), one.shape(1000, 8), load.Plan{For: r.For})
			if err != nil {
				return err
			}
			r.say("%s, run %d of %d: %.0f events/s committed, %.2f µs CPU an event", name, i+1, r.Runs, w.Committed, w.CPU)
			r.report.Works = append(r.report.Works, *w)
			rates.add(at, w.Committed)
			costs.add(at, w.CPU)
		}
	}
	for at, n := range numbers {
		for i := range r.Runs {
			r.report.note("scaling", fmt.Sprintf("%d metrics, committed", n), "events/s", rates[at][i])
			r.report.note("scaling", fmt.Sprintf("%d metrics, CPU an event", n), "µs", costs[at][i])
		}
	}
	r.report.note("scaling", "slowest of fastest", "", rates.leastOfMost())
	r.report.note("scaling", "cheapest of dearest, by CPU an event", "", costs.leastOfMost())
	return nil
}

// rounds is what each of several things gave, round by round.
type rounds [][]float64

func newRounds(things int) rounds { return make(rounds, things) }

func (r rounds) add(thing int, value float64) { r[thing] = append(r[thing], value) }

// leastOfMost compares the things by the medians of what they gave of their rounds' means.
func (r rounds) leastOfMost() float64 {
	medians := make([]float64, len(r))
	for thing := range r {
		shares := make([]float64, len(r[thing]))
		for round := range shares {
			sum := 0.0
			for _, of := range r {
				sum += of[round]
			}
			shares[round] = r[thing][round] * float64(len(r)) / sum
		}
		medians[thing] = median(shares)
	}
	return slices.Min(medians) / slices.Max(medians)
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
