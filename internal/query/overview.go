package query

import (
	"cmp"
	"context"
	"net/url"
	"slices"
	"time"

	"github.com/pulsestream/pulsestream/internal/metric"
	"github.com/pulsestream/pulsestream/internal/series"
	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

// Bounds of the overview.
const (
	DefaultWindow = 15 * time.Minute
	MaxWindow     = 24 * time.Hour
	MaxSources    = 100
)

// ParseWindow reads the overview's only parameter.
func ParseWindow(v url.Values) (time.Duration, []FieldError) {
	p := parser{values: v}
	s := p.one("window")
	if s == "" {
		return DefaultWindow, p.errors
	}
	d, err := series.ParseDuration(s)
	window := time.Duration(d)
	switch {
	case err != nil:
		p.fail("window", "%v", err)
	case window < time.Minute || window > MaxWindow || window%time.Minute != 0:
		p.fail("window", "%s is not possible: use whole minutes, 1m to %s", d, series.Duration(MaxWindow))
	}
	return window, p.errors
}

// Metric is a metric and the values that its dimensions may have.
type Metric struct {
	Def   *metric.Definition
	Where map[string][]string
}

// Health names the metrics that tell how well a vendor works: of the events that Total counts, Failed counts the failures.
type Health struct{ Failed, Total Metric }

// About is what the caller knows of a source.
type About struct {
	Name   string
	Vendor string
	// Health is nil where nothing better is known than the types of the events.
	Health *Health
	// Firing are the severities of the open incidents that are about the source.
	Firing []string
}

// OverviewQuery asks for the overview of a tenant.
type OverviewQuery struct {
	Window time.Duration // whole minutes; see ParseWindow
	Now    time.Time
	// Lookback is how long ago a source may have fallen silent and still be shown; the tenant's retention when it is 0.
	Lookback time.Duration
	// Sources are those to show in any case.
	Sources []string
	About   func(source string) About
	// OpenIncidents is the number of all of the tenant's, be they about a source or not.
	OpenIncidents int
}

// Overview is every source at a glance; its JSON is the API's.
type Overview struct {
	Data   []SourceOverview `json:"data"`
	Totals OverviewTotals   `json:"totals"`
}

// OverviewTotals are about all of a tenant's events.
type OverviewTotals struct {
	EventsPerMinute float64 `json:"events_per_minute"`
	OpenIncidents   int     `json:"open_incidents"`
}

// SourceOverview is one source at a glance.
type SourceOverview struct {
	Source          string     `json:"source"`
	Name            string     `json:"name"`
	Vendor          string     `json:"vendor"`
	Status          Status     `json:"status"`
	Reason          string     `json:"reason"`
	EventsPerMinute float64    `json:"events_per_minute"`
	ErrorShare      *float64   `json:"error_share"` // 0 to 1; nil when there is nothing to judge by
	LastEventAt     *time.Time `json:"last_event_at"`
	Sparkline       Points     `json:"sparkline"` // events of each minute
	Incidents       int        `json:"incidents"`
}

// Overview tells how each source is. It is about the minutes that the window touches, up to now.
func (e *Engine) Overview(ctx context.Context, t tenant.ID, q OverviewQuery) (Overview, error) {
	o := overview{e: e, tenant: t, q: &q, from: series.Align(q.Now.Add(-q.Window), time.Minute), to: alignUp(q.Now, time.Minute), sources: map[string]*activity{}}
	for _, s := range q.Sources {
		o.source(s)
	}
	if err := o.readWindow(ctx); err != nil {
		return Overview{}, err
	}
	if err := o.readDays(ctx); err != nil {
		return Overview{}, err
	}
	minutes := q.Now.Sub(o.from).Minutes()
	out := Overview{Data: []SourceOverview{}, Totals: OverviewTotals{float64(o.events) / minutes, q.OpenIncidents}}
	for _, name := range o.shown() {
		s, err := o.describe(ctx, name, minutes)
		if err != nil {
			return Overview{}, err
		}
		out.Data = append(out.Data, s)
	}
	return out, nil
}

type overview struct {
	e        *Engine
	tenant   tenant.ID
	q        *OverviewQuery
	from, to time.Time // whole minutes
	events   uint64
	sources  map[string]*activity
}

// judgedSpan is how far back failures are looked at: an outage is to be seen at once and forgotten soon after its end, however much
// the charts show. A source that has sent too little in it to be judged by is judged by the whole window.
const judgedSpan = 5 * time.Minute

func (o *overview) judged() time.Time {
	if t := series.Align(o.q.Now.Add(-judgedSpan), time.Minute); t.After(o.from) {
		return t
	}
	return o.from
}

// activity is what the built-in events metric tells of one source.
type activity struct {
	minutes []uint64
	events  uint64
	failed  uint64
	// Of these, those of the last judgedSpan.
	recent, recentFailed uint64
	// The latest step that has events.
	last       time.Time
	resolution time.Duration
}

func (o *overview) source(name string) *activity {
	a, ok := o.sources[name]
	if !ok {
		a = &activity{}
		o.sources[name] = a
	}
	return a
}

// readWindow reads the minutes of the window by source and type, which are the labels of the events metric.
func (o *overview) readWindow(ctx context.Context) error {
	var failures FailureTypes
	n := points(o.from, o.to, time.Minute)
	rq := store.RollupQuery{Metric: metric.EventsID, Step: time.Minute, From: o.from, To: o.to, GroupBy: []int{0, 1}, Scalars: true}
	return o.e.Events.Rollups(ctx, o.tenant, rq, func(u *series.Rollup) error {
		o.events += u.Agg.Count
		if IsOther(u.Labels) {
			return nil // of no source in particular
		}
		a := o.source(u.Labels[0])
		if a.minutes == nil {
			a.minutes = make([]uint64, n)
		}
		if i := int(u.Start.Sub(o.from) / time.Minute); i >= 0 && i < n {
			a.minutes[i] += u.Agg.Count
		}
		a.events += u.Agg.Count
		recent := !u.Start.Before(o.judged())
		if recent {
			a.recent += u.Agg.Count
		}
		if failures.Is(u.Labels[1]) {
			a.failed += u.Agg.Count
			if recent {
				a.recentFailed += u.Agg.Count
			}
		}
		if !u.Start.Before(a.last) {
			a.last, a.resolution = u.Start, time.Minute
		}
		return nil
	})
}

// readDays finds on which day the sources that are silent now were last heard of.
func (o *overview) readDays(ctx context.Context) error {
	const day = 24 * time.Hour
	back := o.q.Lookback
	if back <= 0 {
		back = tenant.DefaultRetention
	}
	rq := store.RollupQuery{Metric: metric.EventsID, Step: day, From: series.Align(o.q.Now.Add(-back), day), To: o.to, GroupBy: []int{0}, Scalars: true}
	return o.e.Events.Rollups(ctx, o.tenant, rq, func(u *series.Rollup) error {
		if IsOther(u.Labels) {
			return nil
		}
		if a := o.source(u.Labels[0]); u.Start.After(a.last) {
			a.last, a.resolution = u.Start, day
		}
		return nil
	})
}

// shown are the sources of the answer by name: those that were asked for, and of the others those that send most.
func (o *overview) shown() []string {
	asked := func(s string) int {
		if slices.Contains(o.q.Sources, s) {
			return 0
		}
		return 1
	}
	names := sortedKeys(o.sources)
	slices.SortStableFunc(names, func(a, b string) int {
		return cmp.Or(cmp.Compare(asked(a), asked(b)), -cmp.Compare(o.sources[a].events, o.sources[b].events))
	})
	names = names[:min(len(names), max(MaxSources, len(o.q.Sources)))]
	slices.Sort(names)
	return names
}

func (o *overview) describe(ctx context.Context, name string, minutes float64) (SourceOverview, error) {
	a := o.sources[name]
	var about About
	if o.q.About != nil {
		about = o.q.About(name)
	}
	if about.Name == "" {
		about.Name = name
	}
	signals := Signals{Window: o.q.Window, Events: a.events, Judged: a.recent, Failed: a.recentFailed, Firing: about.Firing}
	if signals.Judged < minJudged {
		signals.Judged, signals.Failed = a.events, a.failed
	}
	if h := about.Health; h != nil {
		for _, from := range []time.Time{o.judged(), o.from} {
			var err error
			if signals.Judged, err = o.count(ctx, h.Total, from); err != nil {
				return SourceOverview{}, err
			}
			if signals.Failed, err = o.count(ctx, h.Failed, from); err != nil {
				return SourceOverview{}, err
			}
			if signals.Judged >= minJudged {
				break
			}
		}
	}
	last, err := o.lastEvent(ctx, name, a)
	if err != nil {
		return SourceOverview{}, err
	}
	s := SourceOverview{
		Source: name, Name: about.Name, Vendor: about.Vendor, EventsPerMinute: float64(a.events) / minutes,
		LastEventAt: last, Sparkline: o.sparkline(a), Incidents: len(about.Firing),
	}
	if share, ok := signals.share(); ok {
		s.ErrorShare = &share
	}
	s.Status, s.Reason = Judge(signals)
	return s, nil
}

func (o *overview) sparkline(a *activity) Points {
	ps := make(Points, points(o.from, o.to, time.Minute))
	for i := range ps {
		ps[i] = Point{UnixMS: o.from.Add(time.Duration(i) * time.Minute).UnixMilli(), Valid: true}
		if a.minutes != nil {
			ps[i].Value = float64(a.minutes[i])
		}
	}
	return ps
}

// count is the number of a metric's events since a time.
func (o *overview) count(ctx context.Context, m Metric, from time.Time) (uint64, error) {
	p := newProjection(m.Def, nil, m.Where)
	var n uint64
	rq := store.RollupQuery{Metric: m.Def.ID, Step: time.Minute, From: from, To: o.to, Where: p.where, Scalars: true, Bucket: wholeRange}
	err := o.e.Events.Rollups(ctx, o.tenant, rq, func(u *series.Rollup) error {
		n += u.Agg.Count
		return nil
	})
	return n, err
}

// lastEvent is the time of the source's newest event. Rollups say in which step it lies, so that only that is searched.
func (o *overview) lastEvent(ctx context.Context, name string, a *activity) (*time.Time, error) {
	if a.resolution == 0 {
		return nil, nil
	}
	page := store.Page{Limit: 1}
	page.Source, page.From, page.To = name, a.last, a.last.Add(a.resolution)
	events, err := o.e.Events.Page(ctx, o.tenant, page)
	if err != nil {
		return nil, err
	}
	last := a.last // when the event itself is gone already
	if len(events) > 0 {
		last = events[0].Time
	}
	return &last, nil
}
