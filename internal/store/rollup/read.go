package rollup

import (
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/pulsestream/pulsestream/internal/series"
	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

// Set is where a reader finds the rollups of one moment: files, and minutes that are in none yet.
type Set struct {
	Files []*File
	Young []series.Rollup
}

// Reader answers questions. Any number of goroutines may use it.
type Reader struct{ sweeps sweeps }

// Check says what is wrong with a query, and puts its bucket in when it has none.
func Check(q *store.RollupQuery) error {
	if !slices.Contains(series.Resolutions(), q.Step) {
		return fmt.Errorf("there are no rollups of %v: the steps are %v", q.Step, series.Resolutions())
	}
	if q.Bucket == 0 {
		q.Bucket = q.Step
	}
	if q.Bucket < q.Step || q.Bucket%q.Step != 0 {
		return fmt.Errorf("rollups: a bucket of %v is not a multiple of the step %v", q.Bucket, q.Step)
	}
	for _, i := range q.GroupBy {
		if i < 0 {
			return fmt.Errorf("rollups: %d is not the index of a label", i)
		}
	}
	return nil
}

// asked is a query that was checked.
func asked(q *store.RollupQuery) question {
	x := question{metric: q.Metric, bucket: int64(q.Bucket), where: q.Where, keep: q.GroupBy, scalars: q.Scalars, from: math.MinInt64, to: math.MaxInt64}
	x.step = uint8(slices.Index(series.Resolutions(), q.Step)) //nolint:gosec // Check has found it
	// A step begins within the range when all its minutes do, from the first step that does on.
	if !q.From.IsZero() {
		x.from = alignUp(q.From, q.Step).UnixNano()
	}
	if !q.To.IsZero() {
		x.to = alignUp(q.To, q.Step).UnixNano()
	}
	return x
}

// alignUp is the first multiple of step at or after t.
func alignUp(t time.Time, step time.Duration) time.Time {
	a := series.Align(t, step)
	if a.Before(t) {
		return a.Add(step)
	}
	return a
}

// Wanted says whether a query is about a minute in memory.
func Wanted(q *store.RollupQuery, u *series.Rollup) bool {
	start := u.Start
	if q.Step > time.Minute {
		start = series.Align(start, q.Step)
	}
	if !q.From.IsZero() && start.Before(q.From) || !q.To.IsZero() && !start.Before(q.To) {
		return false
	}
	for i, values := range q.Where {
		if i >= len(u.Labels) || !slices.Contains(values, u.Labels[i]) {
			return false
		}
	}
	return true
}

// Rollups calls each for every merged rollup that a query, which Check has seen, asks for, in order of starts and labels. What is in memory must be
// wanted by it.
func (r *Reader) Rollups(ctx context.Context, set *Set, t tenant.ID, q *store.RollupQuery, each func(*series.Rollup) error) error {
	s := r.sweeps.get()
	defer r.sweeps.put(s)
	s.begin(asked(q))
	for _, f := range set.Files {
		s.find(f, t)
	}
	slices.SortFunc(set.Young, func(a, b series.Rollup) int { return a.Start.Compare(b.Start) })
	out := series.Rollup{Tenant: t, Metric: q.Metric, Step: q.Bucket}
	return s.run(ctx, set.Young, func(bucket int64, labels series.Labels, a *series.Agg) error {
		out.Labels, out.Start, out.Agg = labels, startOf(bucket, s.bucket), *a
		return each(&out)
	})
}
