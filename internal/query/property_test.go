package query

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/internal/event"
	"github.com/pulsestream/pulsestream/internal/metric"
	"github.com/pulsestream/pulsestream/internal/series"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

// naive answers a query the plain way: by going through all sales. Distinct values are told by the set of customers.
func naive(all []sale, def *metric.Definition, t tenant.ID, q *Query) []Series {
	type group struct {
		labels map[string]string
		key    []string
		other  bool
		of     []*sale
	}
	groups := map[string]*group{}
	for i := range all {
		s := &all[i]
		labels, _, ok := s.observe(def.Slug)
		if !ok || s.tenant != t || s.at.Before(q.From) || !s.at.Before(q.To) {
			continue
		}
		for d, values := range q.Where {
			ok = ok && slices.Contains(values, labels[d])
		}
		if !ok {
			continue
		}
		g := group{labels: map[string]string{}, key: []string{}}
		for _, d := range q.GroupBy {
			g.labels[d] = labels[d]
			g.key = append(g.key, labels[d])
		}
		key := strings.Join(g.key, "\x00")
		if groups[key] == nil {
			groups[key] = &g
		}
		groups[key].of = append(groups[key].of, s)
	}
	if len(q.GroupBy) == 0 && len(groups) == 0 {
		groups[""] = &group{labels: map[string]string{}}
	}
	var list []*group
	for _, g := range groups {
		list = append(list, g)
	}
	total := func(g *group) *float64 { return plainly(g.of, def, q.Agg, q.To.Sub(q.From)) }
	slices.SortFunc(list, func(a, b *group) int {
		x, y := total(a), total(b)
		switch {
		case x == nil && y == nil:
		case x == nil:
			return 1
		case y == nil:
			return -1
		case *x > *y:
			return -1
		case *x < *y:
			return 1
		}
		return slices.Compare(a.key, b.key)
	})
	if len(list) > q.Limit {
		rest := &group{labels: map[string]string{"__other__": "true"}, other: true}
		for _, g := range list[q.Limit:] {
			rest.of = append(rest.of, g.of...)
		}
		list = list[:q.Limit]
		if q.Other {
			list = append(list, rest)
		}
	}
	out := []Series{}
	for _, g := range list {
		s := Series{Labels: g.labels, Total: total(g)}
		steps := map[int64][]*sale{}
		for _, x := range g.of {
			ms := x.at.Unix() - x.at.Unix()%int64(q.Step/time.Second)
			steps[ms*1000] = append(steps[ms*1000], x)
		}
		first := q.From.Unix() - q.From.Unix()%int64(q.Step/time.Second)
		for at := time.Unix(first, 0); at.Before(q.To); at = at.Add(q.Step) {
			p := Point{UnixMS: at.UnixMilli()}
			if v := plainly(steps[p.UnixMS], def, q.Agg, q.Step); v != nil {
				p.Value, p.Valid = *v, true
			}
			s.Points = append(s.Points, p)
		}
		out = append(out, s)
	}
	return out
}

// plainly is the value of sales by its definition. Quantiles alone are the sketch's: that a sketch is within a percent is for its
// own test to show; here it matters that merging loses nothing.
func plainly(of []*sale, def *metric.Definition, kind series.Kind, span time.Duration) *float64 {
	v := func(f float64) *float64 { return &f }
	switch kind {
	case series.Count:
		return v(float64(len(of)))
	case series.Rate:
		return v(float64(len(of)) / span.Seconds())
	case series.Unique:
		set := map[string]bool{}
		for _, s := range of {
			if def.Slug == "revenue" {
				set[fmt.Sprint(s.amount)] = true
			} else {
				set[s.customer] = true
			}
		}
		return v(float64(len(set)))
	}
	if len(of) == 0 || def.Slug != "revenue" {
		return nil
	}
	sum, low, high, last := 0.0, math.Inf(1), math.Inf(-1), of[0]
	var quantiles series.Quantiles
	for _, s := range of {
		sum, low, high = sum+s.amount, min(low, s.amount), max(high, s.amount)
		quantiles.Add(s.amount)
		if s.at.After(last.at) || s.at.Equal(last.at) && s.amount > last.amount {
			last = s
		}
	}
	switch kind {
	case series.Sum:
		return v(sum)
	case series.Avg:
		return v(sum / float64(len(of)))
	case series.Min:
		return v(low)
	case series.Max:
		return v(high)
	case series.Last:
		return v(last.amount)
	}
	q := map[series.Kind]float64{series.P50: 0.5, series.P90: 0.9, series.P95: 0.95, series.P99: 0.99}[kind]
	return v(max(low, min(high, quantiles.At(q))))
}

// same compares answers; sums may differ in rounding, and distinct counts of hundreds by a percent.
func same(got, want []Series, kind series.Kind) error {
	near := func(a, b float64) bool {
		tolerance := 1e-9 * max(1, math.Abs(b))
		if kind == series.Unique && b > 100 {
			tolerance = 0.02 * b
		}
		return math.Abs(a-b) <= tolerance
	}
	if len(got) != len(want) {
		return fmt.Errorf("got %d series, want %d", len(got), len(want))
	}
	for i := range want {
		g, w := got[i], want[i]
		if fmt.Sprint(g.Labels) != fmt.Sprint(w.Labels) || g.Labels == nil {
			return fmt.Errorf("series %d: got labels %v, want %v", i, g.Labels, w.Labels)
		}
		if (g.Total == nil) != (w.Total == nil) || g.Total != nil && !near(*g.Total, *w.Total) {
			return fmt.Errorf("series %v: got total %s, want %s", w.Labels, show(g.Total), show(w.Total))
		}
		if len(g.Points) != len(w.Points) {
			return fmt.Errorf("series %v: got %d points, want %d", w.Labels, len(g.Points), len(w.Points))
		}
		for j := range w.Points {
			if a, b := g.Points[j], w.Points[j]; a.UnixMS != b.UnixMS || a.Valid != b.Valid || !near(a.Value, b.Value) {
				return fmt.Errorf("series %v, point %d: got %v, want %v", w.Labels, j, a, b)
			}
		}
	}
	return nil
}

func show(f *float64) string {
	if f == nil {
		return "none"
	}
	return fmt.Sprint(*f)
}

// asker makes random but valid queries.
type asker struct {
	rng   *rand.Rand
	sales []sale
}

func (a *asker) time() time.Time {
	t := begin().Add(time.Duration(a.rng.Int64N(int64(72 * time.Hour))))
	if a.rng.IntN(2) == 0 {
		t = begin().Add(30*time.Hour + time.Duration(a.rng.Int64N(int64(2*time.Hour))))
	}
	switch a.rng.IntN(6) {
	case 0:
		return t.Truncate(time.Minute)
	case 1:
		return t.Truncate(time.Hour)
	case 2:
		return t.Truncate(24 * time.Hour)
	case 3:
		return a.sales[a.rng.IntN(len(a.sales))].at
	}
	return t
}

func (a *asker) query(def *metric.Definition, kind series.Kind, step time.Duration) Query {
	for {
		q := Query{From: a.time(), To: a.time(), Step: step, Agg: kind, Limit: 20, Other: a.rng.IntN(4) > 0}
		if a.rng.IntN(2) == 0 {
			q.Limit = 1 + a.rng.IntN(4)
		}
		if q.To.Before(q.From) {
			q.From, q.To = q.To, q.From
		}
		if step < time.Minute && q.To.Sub(q.From) > 500*step { // or the naive computation takes its time
			q.To = q.From.Add(time.Duration(a.rng.Int64N(int64(500 * step))))
		}
		dims := def.DimensionNames()
		a.rng.Shuffle(len(dims), func(i, j int) { dims[i], dims[j] = dims[j], dims[i] })
		q.GroupBy = dims[:a.rng.IntN(len(dims)+1)]
		for _, d := range def.DimensionNames() {
			if a.rng.IntN(4) > 0 {
				continue
			}
			if q.Where == nil {
				q.Where = map[string][]string{}
			}
			for range 1 + a.rng.IntN(2) {
				labels, _, _ := a.sales[a.rng.IntN(len(a.sales))].observe(def.Slug)
				q.Where[d] = append(q.Where[d], labels[d])
			}
		}
		if q.Check(def) == nil {
			return q
		}
	}
}

func TestRunAnswersAsGoingThroughAllEventsWould(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	all := sales(rng, 4000)
	w := &writer{t: t, events: openStore(t), programs: map[tenant.ID][]*metric.Program{}}
	for _, def := range sellers() {
		p := compile(t, def)
		w.programs[acme] = append(w.programs[acme], p)
		w.programs[rival] = append(w.programs[rival], p)
	}
	for i := 0; i < len(all); i += 500 {
		var batch []event.Stored
		for j := i; j < min(i+500, len(all)); j++ {
			batch = append(batch, all[j].event(j))
		}
		w.commit(batch)
	}
	// The second one has to read wide answers in small chunks.
	engines := []*Engine{{Events: w.events}, {Events: w.events, limits: &limits{points: 1e6, scanned: 1e6, rawGroups: 1e4, scalars: 100, sketches: 100, kept: 1e5}}}
	ask := asker{rng, all}
	s := time.Second
	for _, kind := range series.Kinds() {
		for _, step := range []time.Duration{s, 30 * s, 60 * s, 90 * s, 300 * s, 3600 * s, 86400 * s} {
			for round := range 3 {
				p := w.programs[acme][rng.IntN(4)]
				if round < 2 {
					p = w.programs[acme][0]
				}
				if p.Definition().Value == "" && !slices.Contains([]series.Kind{series.Count, series.Rate, series.Unique}, kind) {
					continue
				}
				q := ask.query(p.Definition(), kind, step)
				want := naive(all, p.Definition(), acme, &q)
				for i, e := range engines {
					got, err := e.Run(context.Background(), acme, p, q)
					if err == nil {
						err = same(got.Series, want, kind)
					}
					if err == nil {
						_, err = json.Marshal(got)
					}
					if err != nil {
						t.Fatalf("engine %d: %s %+v: %v", i, p.Definition().Slug, q, err)
					}
				}
			}
		}
	}
}
