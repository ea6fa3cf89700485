package alert

import (
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/internal/series"
)

// naive is an evaluator that keeps every observation and computes each window anew.
type naive struct {
	rule   *Rule
	shape  shape
	cur    int64
	seen   []observed
	groups map[string]*naiveGroup
}

type observed struct {
	country string
	second  int64
	agg     series.Agg
}

type naiveGroup struct {
	state   State
	touched bool
}

func newNaive(r *Rule) *naive {
	n := &naive{rule: r, shape: shapeOf(r.Agg, time.Duration(r.Window)), cur: never, groups: map[string]*naiveGroup{}}
	if len(r.GroupBy) == 0 {
		n.touch("")
	}
	return n
}

func (n *naive) touch(country string) {
	g := n.groups[country]
	if g == nil {
		g = &naiveGroup{state: State{Tenant: n.rule.Tenant, RuleID: n.rule.ID, Labels: map[string]string{}, Phase: PhaseOK}}
		if len(n.rule.GroupBy) > 0 {
			g.state.Group, g.state.Labels["country"] = GroupKey([]string{country}), country
		}
		n.groups[country] = g
	}
	g.touched = true
}

func (n *naive) add(d *series.Delta) {
	if n.shape.bucketOf(d.Second) <= n.cur-n.shape.n || len(n.rule.Where) > 0 && d.Labels[0] != n.rule.Where["brand"] {
		return
	}
	country := ""
	if len(n.rule.GroupBy) > 0 {
		country = d.Labels[1]
	}
	n.seen = append(n.seen, observed{country, d.Second, *d.Agg.Clone()})
	n.touch(country)
}

func (n *naive) evaluate(now time.Time, onlyTouched bool) (states []State, transitions []Transition) {
	if onlyTouched && n.shape.class == sketches {
		return nil, nil
	}
	n.cur = n.shape.bucketOf(now.Unix())
	for _, country := range slices.Sorted(maps.Keys(n.groups)) {
		g := n.groups[country]
		if onlyTouched && !g.touched {
			continue
		}
		g.touched = false
		var in series.Agg
		toCome := false
		for i := range n.seen {
			o := &n.seen[i]
			switch at := n.shape.bucketOf(o.second); {
			case o.country != country || at <= n.cur-n.shape.n:
			case at > n.cur:
				toCome = true
			default:
				in.Merge(&o.agg)
			}
		}
		v, has := in.Value(n.rule.Agg, time.Duration(n.rule.Window))
		has = has && (in.Count > 0 || n.rule.NoData == NoDataOK)
		next, tr := Step(n.rule, g.state, v, has, now)
		if next.Phase != g.state.Phase || !next.Since.Equal(g.state.Since) {
			states = append(states, next)
		}
		if tr != nil {
			transitions = append(transitions, *tr)
		}
		g.state = next
		if next.Phase == PhaseOK && in.Count == 0 && !toCome && len(n.rule.GroupBy) > 0 {
			delete(n.groups, country)
		}
	}
	return states, transitions
}

func TestEvaluatorAgreesWithANaiveOne(t *testing.T) {
	kinds := series.Kinds()
	for seed := range uint64(240) {
		kind := kinds[seed%uint64(len(kinds))]
		t.Run(fmt.Sprintf("%s/%d", kind, seed), func(t *testing.T) { compare(t, kind, rand.New(rand.NewPCG(seed, 1))) })
	}
}

func pick[T any](rng *rand.Rand, of ...T) T { return of[rng.IntN(len(of))] }

func randomRule(kind series.Kind, rng *rand.Rand) *Rule {
	return rule(func(r *Rule) {
		r.Agg = kind
		r.Window = series.Duration(pick(rng, 10*time.Second, 30*time.Second, 2*time.Minute, 20*time.Minute))
		r.For = series.Duration(pick[time.Duration](rng, 0, 0, 3*time.Second, 20*time.Second))
		r.NoData = pick(rng, NoDataOK, NoDataOK, NoDataKeep, NoDataAlert)
		r.Condition = Condition{Op: pick(rng, ">", ">=", "<", "<=", "==", "!="), Value: float64(rng.IntN(12))}
		switch r.Condition.Op[0] {
		case '>':
			r.Condition.Clear = pick(rng, nil, ptr(r.Condition.Value-2))
		case '<':
			r.Condition.Clear = pick(rng, nil, ptr(r.Condition.Value+2))
		}
		if rng.IntN(3) > 0 {
			r.GroupBy = []string{"country"}
		}
		if rng.IntN(3) == 0 {
			r.Where = map[string]string{"brand": "visa"}
		}
	})
}

func compare(t *testing.T, kind series.Kind, rng *rand.Rand) {
	r := randomRule(kind, rng)
	e := NewEvaluator(Config{})
	n := newNaive(r)
	e.SetRules([]Bound{{Rule: *r, MetricID: 5, Dimensions: []string{"brand", "country"}}})
	now := 0.0
	for range rng.IntN(20) { // history
		d := randomDelta(now, rng)
		e.Load(7, &d)
		n.add(&d)
	}
	e.Loaded(7)
	total := 0
	for range 400 {
		now += pick(rng, 0.01, 0.2, 1, 1, 1, 2.5, 40)
		for range rng.IntN(4) {
			d := randomDelta(now, rng)
			e.Add(&d)
			n.add(&d)
		}
		now = math.Round(now*1e3) / 1e3 // evaluations are at whole milliseconds
		onlyTouched := rng.IntN(3) == 0
		states, transitions := e.Evaluate(at(now), onlyTouched)
		wantStates, want := n.evaluate(at(now), onlyTouched)
		states = slices.DeleteFunc(states, func(s State) bool { // those written anew for their worst value only
			return s.Phase == PhaseFiring && s.Since.Before(e.now)
		})
		total += len(want)
		if !reflect.DeepEqual(phases(states), phases(wantStates)) || len(transitions) != len(want) {
			t.Fatalf("%+v\nat %vs: %v %v\nwant %v %v", r, now, phases(states), transitions, phases(wantStates), want)
		}
		for i := range want {
			if !reflect.DeepEqual(transitions[i], want[i]) {
				t.Fatalf("%+v\nat %vs\n got %+v\nwant %+v", r, now, transitions[i], want[i])
			}
		}
	}
	t.Logf("%d transitions", total)
}

func phases(states []State) []string {
	out := []string{}
	for _, s := range states {
		out = append(out, fmt.Sprintf("%s %s since %v: %v %s", s.Group, s.Phase, s.Since, s.Value, s.Incident))
	}
	return out
}

// randomDelta has numbers whose sums are exact in any order.
func randomDelta(now float64, rng *rand.Rand) series.Delta {
	second := at(now + pick(rng, 0.0, 0, 0, -1, -3, -25, -1300, 1, 30, 600)).Unix()
	d := series.Delta{Tenant: "acme", Metric: 5, Labels: series.Labels{pick(rng, "visa", "amex"), pick(rng, "US", "DE", "FR")}, Second: second}
	for range 1 + rng.IntN(3) {
		d.Agg.Add(series.Observation{
			At: time.Unix(second, rng.Int64N(1e9)), Value: float64(rng.IntN(40)-8) / 2, Numeric: rng.IntN(4) > 0,
			Distinct: rng.Uint64N(12) * 0x9E3779B97F4A7C15, HasDistinct: true,
		})
	}
	return d
}
