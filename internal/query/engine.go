package query

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/pulsestream/pulsestream/internal/event"
	"github.com/pulsestream/pulsestream/internal/metric"
	"github.com/pulsestream/pulsestream/internal/series"
	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

// Events is what queries need of store.Events.
type Events interface {
	Rollups(ctx context.Context, t tenant.ID, q store.RollupQuery, each func(*series.Rollup) error) error
	Scan(ctx context.Context, t tenant.ID, s store.Scan, each func(*event.Stored) error) error
	Page(ctx context.Context, t tenant.ID, p store.Page) ([]event.Stored, error)
}

// Engine answers queries. One serves all tenants and goroutines.
type Engine struct {
	Events Events
	// Columns, if there is such a thing, are what raw events are read from.
	Columns Columns
	// TimeLimit is how long a query may take; 0: DefaultTimeLimit.
	TimeLimit time.Duration
	limits    *limits // nil: the default ones
	plans     columnPlans
	reading   gate
}

// Stats says what its questions do at the moment.
func (e *Engine) Stats() EngineStats { return e.reading.stats() }

// Run answers q about the metric of p. The error is a *LimitError when q takes more work than one query may.
func (e *Engine) Run(ctx context.Context, t tenant.ID, p *metric.Program, q Query) (Result, error) {
	r := e.newRun(t, p, &q)
	r.patience = patience
	ctx, cancel := r.within(ctx)
	defer cancel()
	defer r.leave()
	result, err := r.answer(ctx)
	return result, r.overtime(ctx, err)
}

// answer is Run without the bound on its time.
func (r *run) answer(ctx context.Context) (Result, error) {
	out := newRenderer(r.def, r.q)
	out.limit = r.limits.points
	groups, err := r.narrow(ctx)
	if err == nil {
		return out.finish(groups)
	}
	if !errors.Is(err, errWide) {
		return Result{}, err
	}
	top, err := r.rank(ctx)
	if err != nil {
		return Result{}, err
	}
	n, chunk := r.q.points(), max(1, r.budget()/(len(top)+1))
	if err := out.fits(len(top)); err != nil {
		return Result{}, err
	}
	for i := 0; i < n; i += chunk {
		groups, err := r.chunk(ctx, top, i, i+chunk)
		if err != nil {
			return Result{}, err
		}
		if err := out.add(groups); err != nil {
			return Result{}, err
		}
	}
	return out.result(), nil
}

// Aggregates answers q with what its points are made of, so that later observations can be merged in: at most q.Limit groups,
// those with the largest totals first, and one of all others last if there are any and q.Other holds. The groups are the caller's.
func (e *Engine) Aggregates(ctx context.Context, t tenant.ID, p *metric.Program, q Query) ([]Group, error) {
	r := e.newRun(t, p, &q)
	r.patience = shortPatience
	ctx, cancel := r.within(ctx)
	defer cancel()
	defer r.leave()
	groups, err := r.aggregates(ctx)
	return groups, r.overtime(ctx, err)
}

func (r *run) aggregates(ctx context.Context) ([]Group, error) {
	groups, err := r.narrow(ctx)
	if !errors.Is(err, errWide) {
		return plain(fold(groups, r.q)), err
	}
	top, err := r.rank(ctx)
	if err != nil {
		return nil, err
	}
	c := r.collector(r.limits.kept)
	c.top = top
	if err := r.read(ctx, c, plan(r.q.From, r.to, r.q.Step), r.q.Step); err != nil {
		if errors.Is(err, errWide) {
			err = &LimitError{fmt.Sprintf("the question has more than %d points: ask for a longer step, a shorter range or fewer series", r.limits.kept)}
		}
		return nil, err
	}
	return plain(fold(c.list(), r.q)), nil
}

// run is one query on its way.
type run struct {
	engine  *Engine
	tenant  tenant.ID
	program *metric.Program
	def     *metric.Definition
	q       *Query
	to      time.Time // where reading ends
	project projection
	scanned int
	limits  limits
	// Whether it has its turn to read events, which it keeps, and how long it waits for that.
	reading  bool
	patience time.Duration
}

func (e *Engine) newRun(t tenant.ID, p *metric.Program, q *Query) *run {
	r := &run{engine: e, tenant: t, program: p, def: p.Definition(), q: q, to: q.To}
	if q.Open && q.Step%time.Minute == 0 {
		r.to = alignUp(q.To, time.Minute)
	}
	r.project = newProjection(r.def, q.GroupBy, q.Where)
	r.limits = defaultLimits()
	if e.limits != nil {
		r.limits = *e.limits
	}
	if e.TimeLimit > 0 {
		r.limits.time = e.TimeLimit
	}
	if r.limits.time <= 0 {
		r.limits.time = DefaultTimeLimit
	}
	return r
}

// within bounds the time of a query: a store ends what it does when its context ends, be it by this or because the client has gone.
func (r *run) within(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, r.limits.time, &LimitError{fmt.Sprintf("the question took longer than %s: ask for a shorter range, a step of whole minutes or hours, "+
		"or fewer series", series.Duration(r.limits.time))})
}

// overtime is err, or what to do about it when the query took too long.
func (r *run) overtime(ctx context.Context, err error) error {
	var limit *LimitError
	if err != nil && errors.As(context.Cause(ctx), &limit) {
		return limit
	}
	return err
}

func (r *run) collector(budget int) *collector {
	return &collector{q: r.q, groups: map[string]*Group{}, budget: budget, rawGroups: r.limits.rawGroups, step: r.q.Step}
}

// budget is how many aggregates are held at a time.
func (r *run) budget() int {
	if Scalar(r.q.Agg) {
		return r.limits.scalars
	}
	return r.limits.sketches
}

// narrow reads all groups at once, or gives up with errWide.
func (r *run) narrow(ctx context.Context) ([]Group, error) {
	c := r.collector(r.budget())
	err := r.read(ctx, c, plan(r.q.From, r.to, r.q.Step), r.q.Step)
	return c.list(), err
}

// rank finds the groups with the largest totals, from the coarsest rollups there are.
func (r *run) rank(ctx context.Context) (map[string]struct{}, error) {
	if len(r.q.GroupBy) == 0 {
		return map[string]struct{}{"": {}}, nil
	}
	c := r.collector(r.limits.kept)
	c.step = wholeRange
	err := r.read(ctx, c, plan(r.q.From, r.to, 0), wholeRange)
	if errors.Is(err, errWide) {
		return nil, &LimitError{fmt.Sprintf("the question is about more than %d series: narrow it with where, or group by fewer dimensions", r.limits.kept)}
	}
	if err != nil {
		return nil, err
	}
	groups := byTotal(c.list(), r.q)
	top := make(map[string]struct{}, r.q.Limit)
	for _, g := range groups[:min(len(groups), r.q.Limit)] {
		if !g.Other {
			top[g.Labels.Key()] = struct{}{}
		}
	}
	return top, nil
}

// chunk reads the steps i to j of the groups in top, and all others as one.
func (r *run) chunk(ctx context.Context, top map[string]struct{}, i, j int) ([]Group, error) {
	first := r.q.first()
	from, to := first.Add(time.Duration(i)*r.q.Step), r.to
	if from.Before(r.q.From) {
		from = r.q.From
	}
	if end := first.Add(time.Duration(j) * r.q.Step); end.Before(to) {
		to = end
	}
	c := r.collector(math.MaxInt)
	c.top = top
	err := r.read(ctx, c, plan(from, to, r.q.Step), r.q.Step)
	return c.list(), err
}

// wholeRange is a bucket that holds any range at all: the next multiple lies in 2069, the one after in 2168. A range across one gives two
// aggregates of a group, which merge.
const wholeRange = 36_160 * 24 * time.Hour

func (r *run) read(ctx context.Context, c *collector, segments []segment, bucket time.Duration) error {
	for _, s := range segments {
		var err error
		if s.resolution == 0 {
			err = r.readRaw(ctx, c, s)
		} else {
			err = r.readRollups(ctx, c, s, bucket)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (r *run) readRollups(ctx context.Context, c *collector, s segment, bucket time.Duration) error {
	q := store.RollupQuery{
		Metric: r.def.ID, Step: s.resolution, From: s.from, To: s.to, Bucket: bucket,
		Where: r.project.where, GroupBy: r.project.keep, Scalars: Scalar(r.q.Agg),
	}
	return r.engine.Events.Rollups(ctx, r.tenant, q, func(u *series.Rollup) error {
		agg, err := c.at(u.Labels, u.Start)
		if agg != nil {
			agg.Merge(&u.Agg)
		}
		return err
	})
}

// types are the event types that a query may be about: the metric's, or those of them that where names. There may be none.
func (r *run) types() (types []string, some bool) {
	for i, labels := range r.project.where {
		if r.def.Dimensions[r.program.Dimensions()[i]] != "type" || !all(labels, metric.OwnLabel) {
			continue
		}
		for _, t := range labels {
			if r.program.MatchesType(t) {
				types = append(types, t)
			}
		}
		return types, len(types) > 0
	}
	return r.def.EventTypes, true
}

func all[T any](list []T, is func(T) bool) bool {
	return !slices.ContainsFunc(list, func(x T) bool { return !is(x) })
}

// readRaw reads events: from columns if there are any and the program can be computed from them, else one by one.
func (r *run) readRaw(ctx context.Context, c *collector, s segment) error {
	types, some := r.types()
	if !some {
		return nil
	}
	if s.to.Sub(s.from) > time.Minute { // the ends of a range that is read from rollups are shorter, and wait for nobody
		if err := r.enter(ctx); err != nil {
			return err
		}
	}
	if r.engine.Columns != nil {
		if scan, ok := r.newColumnScan(c, &r.engine.plans); ok {
			q := store.ColumnScan{Types: types, From: s.from, To: s.to, Fields: scan.fields}
			err := r.engine.Columns.ScanColumns(ctx, r.tenant, q, scan.block)
			if err == nil {
				return scan.flush()
			}
			if !errors.Is(err, store.ErrNoColumns) {
				return err
			}
		}
	}
	scan := store.Scan{WithoutData: withoutData(r.def)}
	scan.Types, scan.From, scan.To = types, s.from, s.to
	one := raw{run: r, c: c}
	return r.engine.Events.Scan(ctx, r.tenant, scan, one.event)
}

// enter waits for the turn to read events, once for all that the question reads.
func (r *run) enter(ctx context.Context) error {
	if r.reading {
		return nil
	}
	err := r.engine.reading.enter(ctx, r.tenant, mostReading(), r.patience)
	r.reading = err == nil
	return err
}

func (r *run) leave() {
	if r.reading {
		r.engine.reading.leave(r.tenant, mostReading())
	}
}

// raw computes a query from events as they are.
type raw struct {
	run    *run
	c      *collector
	doc    metric.Doc
	labels series.Labels
}

func (w *raw) event(ev *event.Stored) error {
	r := w.run
	if r.scanned++; r.scanned > r.limits.scanned {
		return r.tooMany()
	}
	w.doc.Reset(&ev.Event)
	all, o, ok := r.program.Observe(&w.doc)
	if !ok || !r.project.match(all) {
		return nil
	}
	w.labels = r.project.appendTo(w.labels[:0], all)
	agg, err := w.c.at(w.c.bounded(w.labels), o.At)
	if agg != nil {
		add(agg, o, r.q.Agg)
	}
	return err
}

func (r *run) tooMany() error {
	return &LimitError{fmt.Sprintf("steps of %s are read from the events themselves, and there are more than %d in this range: "+
		"ask for a step of whole minutes, or a shorter range", series.Duration(r.q.Step), r.limits.scanned)}
}

// add counts an observation as far as a kind needs it: the sketches are most of the work.
func add(agg *series.Agg, o series.Observation, kind series.Kind) {
	switch {
	case Scalar(kind):
		addScalar(agg, &o, o.At.UnixNano())
		return
	case kind == series.Unique:
		o.Numeric = false
	default:
		o.HasDistinct = false
	}
	agg.Add(o)
}

// withoutData says whether a metric can be told from an event's attributes alone.
func withoutData(def *metric.Definition) bool {
	if def.Filter != "" || def.Value != "" {
		return false
	}
	for _, expression := range def.Dimensions {
		switch expression {
		case "source", "type", "subject":
		default:
			return false
		}
	}
	return true
}
