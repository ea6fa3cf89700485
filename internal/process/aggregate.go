package process

import (
	"fmt"
	"time"

	"github.com/pulsestream/pulsestream/internal/event"
	"github.com/pulsestream/pulsestream/internal/metric"
	"github.com/pulsestream/pulsestream/internal/series"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

// aggregator turns events into one-second deltas of the series they belong to.
type aggregator struct {
	bound *bound
	doc   metric.Doc
	index map[cell]int
	out   []series.Delta
	// observed is scratch: what the programs make of the event in hand.
	observed []observed
}

type cell struct {
	tenant tenant.ID
	metric int64
	second int64
	labels string
}

func newAggregator(b *bound) *aggregator {
	return &aggregator{bound: b, index: map[cell]int{}}
}

// add runs the programs that are about the event. A program that panics fails the event as a whole: nothing of it is counted.
func (a *aggregator) add(ev *event.Stored, programs []*metric.Program) error {
	if len(programs) == 0 {
		return nil
	}
	if err := a.observe(ev, programs); err != nil {
		return err
	}
	for i := range a.observed {
		o := &a.observed[i]
		labels, key := a.bound.admit(ev.Tenant, o.metric, o.labels)
		c := cell{ev.Tenant, o.metric, o.At.Unix(), key}
		j, ok := a.index[c]
		if !ok {
			j = len(a.out)
			a.index[c] = j
			a.out = append(a.out, series.Delta{Tenant: ev.Tenant, Metric: o.metric, Labels: labels, Second: c.second})
		}
		a.out[j].Agg.Add(o.Observation)
	}
	return nil
}

// observed is what one program makes of one event.
type observed struct {
	series.Observation
	metric int64
	labels series.Labels
}

func (a *aggregator) observe(ev *event.Stored, programs []*metric.Program) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("a metric panicked: %v", p)
		}
	}()
	a.observed = a.observed[:0]
	provoke(ev)
	a.doc.Reset(&ev.Event)
	for _, p := range programs {
		if labels, o, ok := p.Observe(&a.doc); ok {
			a.observed = append(a.observed, observed{Observation: o, metric: p.Definition().ID, labels: labels})
		}
	}
	return nil
}

// take returns the deltas so far, which are the caller's from now on, and begins anew.
func (a *aggregator) take() []series.Delta {
	out := a.out
	a.out = nil
	clear(a.index)
	return out
}

// rollups merges deltas into the steps of all resolutions.
type rollups struct {
	index map[step]int
	out   []series.Rollup
}

type step struct {
	cell // second is the start of the step
	res  time.Duration
}

func newRollups() *rollups { return &rollups{index: map[step]int{}} }

func (r *rollups) add(deltas []series.Delta) {
	for i := range deltas {
		d := &deltas[i]
		key := d.Labels.Key()
		for _, res := range series.Resolutions() {
			start := series.Align(time.Unix(d.Second, 0), res)
			s := step{cell{d.Tenant, d.Metric, start.Unix(), key}, res}
			j, ok := r.index[s]
			if !ok {
				j = len(r.out)
				r.index[s] = j
				r.out = append(r.out, series.Rollup{Tenant: d.Tenant, Metric: d.Metric, Labels: d.Labels, Step: res, Start: start})
			}
			r.out[j].Agg.Merge(&d.Agg)
		}
	}
}

// bound keeps the number of series of each metric of each tenant within a limit: what comes after is folded into one
// series whose labels are all series.OtherValue.
type bound struct {
	limit  int
	known  map[metricKey]map[string]struct{}
	folded func(t tenant.ID, metric int64)
}

type metricKey struct {
	tenant tenant.ID
	metric int64
}

func newBound(limit int, folded func(tenant.ID, int64)) *bound {
	return &bound{limit: limit, known: map[metricKey]map[string]struct{}{}, folded: folded}
}

// learn notes a series that is stored already.
func (b *bound) learn(t tenant.ID, id int64, labels series.Labels) {
	k := metricKey{t, id}
	if b.known[k] == nil {
		b.known[k] = map[string]struct{}{}
	}
	if !isOther(labels) {
		b.known[k][labels.Key()] = struct{}{}
	}
}

func isOther(labels series.Labels) bool { return len(labels) > 0 && labels[0] == series.OtherValue }

// admit returns the labels under which an observation is kept, and their key.
func (b *bound) admit(t tenant.ID, id int64, labels series.Labels) (series.Labels, string) {
	key := labels.Key()
	k := metricKey{t, id}
	known := b.known[k]
	if _, ok := known[key]; ok {
		return labels, key
	}
	if len(known) >= b.limit {
		b.folded(t, id)
		other := make(series.Labels, len(labels))
		for i := range other {
			other[i] = series.OtherValue
		}
		return other, other.Key()
	}
	if known == nil {
		known = map[string]struct{}{}
		b.known[k] = known
	}
	known[key] = struct{}{}
	return labels, key
}
