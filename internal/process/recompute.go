package process

import (
	"github.com/pulsestream/pulsestream/internal/event"
	"github.com/pulsestream/pulsestream/internal/metric"
	"github.com/pulsestream/pulsestream/internal/series"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

// Recompute makes rollups from events outside of a worker, by the worker's own code: a backup has no rollups.
type Recompute struct {
	plans     plans
	aggregate *aggregator
	rollups   *rollups
}

// NewRecompute begins with no series. MaxSeries is as in Config; folded is told of each observation that is beyond it.
func NewRecompute(maxSeries int, folded func(t tenant.ID, metric int64)) *Recompute {
	b := newBound(maxSeries, folded)
	return &Recompute{plans: plans{bound: b}, aggregate: newAggregator(b), rollups: newRollups(b)}
}

// Add takes one event, of which nothing is kept. Events must come in the order of the log, as they do to a worker: it decides which
// series are kept apart. An event that a metric cannot be computed from is an error; nothing of it is counted then.
func (r *Recompute) Add(ev *event.Stored, metrics *metric.Set) error {
	return r.aggregate.add(ev, r.plans.of(ev.Tenant, metrics, ev.Type))
}

// Take returns the rollups of the events since the last call, which are the caller's.
func (r *Recompute) Take() []series.Rollup {
	r.rollups.add(r.aggregate.cells)
	r.aggregate.begin()
	out := r.rollups.take()
	r.rollups = newRollups(r.aggregate.bound)
	return out
}
