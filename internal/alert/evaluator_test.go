package alert

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/internal/series"
)

// bind is a rule about metric 5 with the dimensions brand and country.
func bind(change func(*Rule)) Bound {
	r := rule(change)
	return Bound{Rule: *r, MetricID: 5, Dimensions: []string{"brand", "country"}, Unit: "usd"}
}

func byCountry(r *Rule) { r.GroupBy = []string{"country"} }

// start is an evaluator whose rules have their history, which is empty.
func start(bound ...Bound) *Evaluator {
	e := NewEvaluator(Config{})
	for _, n := range e.SetRules(bound) {
		e.Loaded(n.RuleID)
	}
	return e
}

// delta is n observations of 1 in one second of a series.
func delta(second float64, n int, brand, country string) series.Delta {
	d := series.Delta{Tenant: "acme", Metric: 5, Labels: series.Labels{brand, country}, Second: at(second).Unix()}
	for range n {
		d.Agg.Add(series.Observation{At: at(second), Value: 1, Numeric: true, Distinct: 1, HasDistinct: true})
	}
	return d
}

func add(e *Evaluator, second float64, n int, brand, country string) {
	d := delta(second, n, brand, country)
	e.Add(&d)
}

func load(e *Evaluator, rule int64, d series.Delta) { e.Load(rule, &d) }

// told is what an evaluation has to say, in short.
func told(states []State, transitions []Transition) string {
	var b strings.Builder
	for _, s := range states {
		fmt.Fprintf(&b, "%s=%s ", s.Labels["country"], s.Phase)
	}
	for _, t := range transitions {
		fmt.Fprintf(&b, "%s:%s:%v ", t.Labels["country"], t.Kind, t.Value)
	}
	return strings.TrimSpace(b.String())
}

func expect(t *testing.T, e *Evaluator, second float64, want string) {
	t.Helper()
	if got := told(e.Evaluate(at(second), false)); got != want {
		t.Errorf("at %vs: %q, want %q", second, got, want)
	}
}

func TestIncidentBeginsAndEndsWithTheWindow(t *testing.T) {
	e := start(bind(func(r *Rule) { byCountry(r); r.Window = series.Duration(time.Minute) }))
	add(e, 1, 10, "visa", "US")
	expect(t, e, 1, "")
	add(e, 2, 1, "amex", "US")
	add(e, 2, 3, "amex", "DE")
	expect(t, e, 2.5, "US=firing US:firing:11")
	expect(t, e, 60.9, "")
	expect(t, e, 61, "US=ok US:ok:1")
	if got := e.Stats().Groups; got != 2 {
		t.Errorf("%d groups", got)
	}
	expect(t, e, 62, "")
	if got := e.Stats().Groups; got != 0 {
		t.Errorf("%d groups are left without data", got)
	}
}

func TestFiringGroupWithAnEmptyWindowResolves(t *testing.T) {
	e := start(bind(func(r *Rule) { byCountry(r); r.Window = series.Duration(time.Minute) }))
	add(e, 1, 11, "visa", "US")
	expect(t, e, 1, "US=firing US:firing:11")
	expect(t, e, 61, "US=ok US:ok:0")
	if got := e.Stats().Groups; got != 0 {
		t.Errorf("%d groups", got)
	}
}

func TestUngroupedRuleTellsSilence(t *testing.T) {
	silent := func(r *Rule) { r.Condition = Condition{Op: "<", Value: 1}; r.For = series.Duration(5 * time.Second) }
	e := start(bind(silent))
	expect(t, e, 0, "=pending")
	expect(t, e, 5, "=firing :firing:0")
	add(e, 6, 1, "visa", "US")
	if got := told(e.Evaluate(at(6), true)); got != "=ok :ok:1" {
		t.Error(got)
	}
}

func TestEmptinessIsNoDataWhereTheRuleSaysWhatThatMeans(t *testing.T) {
	window := func(r *Rule) { byCountry(r); r.Window = series.Duration(time.Minute) }
	e := start(bind(func(r *Rule) { window(r); r.NoData = NoDataAlert }))
	add(e, 0, 1, "visa", "US")
	expect(t, e, 0, "")
	expect(t, e, 60, "US=firing US:firing:0")
	add(e, 61, 1, "visa", "US")
	expect(t, e, 61, "US=ok US:ok:1")

	e = start(bind(func(r *Rule) { window(r); r.NoData = NoDataKeep }))
	add(e, 0, 11, "visa", "US")
	expect(t, e, 0, "US=firing US:firing:11")
	expect(t, e, 100, "")
	add(e, 101, 1, "visa", "US")
	expect(t, e, 101, "US=ok US:ok:1")
}

func TestWhereSelectsSeries(t *testing.T) {
	e := start(bind(func(r *Rule) { byCountry(r); r.Where = map[string]string{"brand": "visa"} }))
	add(e, 0, 11, "visa", "US")
	add(e, 0, 11, "amex", "DE")
	d := delta(0, 11, "visa", "FR")
	d.Tenant = "other"
	e.Add(&d)
	d.Tenant, d.Metric = "acme", 6
	e.Add(&d)
	expect(t, e, 0, "US=firing US:firing:11")
}

func TestEarlyEventsCountOnceDue(t *testing.T) {
	e := start(bind(func(r *Rule) { byCountry(r); r.Window = series.Duration(time.Minute) }))
	add(e, 600, 11, "visa", "US")
	expect(t, e, 0, "")
	expect(t, e, 599.9, "")
	expect(t, e, 600, "US=firing US:firing:11")
	expect(t, e, 660, "US=ok US:ok:0")
}

func TestLateEventsCountWhileTheWindowReachesThem(t *testing.T) {
	e := start(bind(func(r *Rule) { byCountry(r); r.Window = series.Duration(time.Minute) }))
	expect(t, e, 100, "")
	add(e, 40, 11, "visa", "US") // the window is (40, 100]
	expect(t, e, 100.1, "")
	if s := e.Stats(); s.Late != 1 || s.Groups != 0 {
		t.Errorf("%+v", s)
	}
	add(e, 41, 11, "visa", "US")
	expect(t, e, 100.2, "US=firing US:firing:11")
	expect(t, e, 101, "US=ok US:ok:0")
}

func TestGroupsPastTheBoundAreCountedTogether(t *testing.T) {
	e := NewEvaluator(Config{MaxGroups: 2})
	for _, n := range e.SetRules([]Bound{bind(byCountry)}) {
		e.Loaded(n.RuleID)
	}
	for _, c := range []string{"US", "DE", "FR", "IT", "US"} {
		add(e, 0, 6, "visa", c)
	}
	expect(t, e, 0, "US=firing __other__=firing US:firing:12 __other__:firing:12")
	if s := e.Stats(); s.Groups != 3 || s.Folded != 2 || e.Folded()[7] != 2 {
		t.Errorf("%+v %v", s, e.Folded())
	}
	expect(t, e, 300, "US=ok __other__=ok US:ok:0 __other__:ok:0")
	add(e, 300, 1, "visa", "FR")
	if _ = told(e.Evaluate(at(300), false)); e.Folded()[7] != 2 {
		t.Error("there is room again")
	}
}

func TestOnlyTouchedLooksAtNothingElse(t *testing.T) {
	quick, sketchy := bind(func(r *Rule) { byCountry(r); r.Window = series.Duration(time.Minute) }), bind(byCountry)
	sketchy.Rule.ID, sketchy.Rule.Agg, sketchy.Rule.Condition.Value = 8, series.Unique, 0
	e := start(quick, sketchy)
	add(e, 0, 11, "visa", "US")
	if got := told(e.Evaluate(at(0), true)); got != "US=firing US:firing:11" {
		t.Error(got)
	}
	add(e, 60, 1, "visa", "DE")
	if got := told(e.Evaluate(at(60), true)); got != "" {
		t.Errorf("%q, but nothing was added to US", got)
	}
	expect(t, e, 60.1, "US=ok DE=firing US=firing US:ok:0 DE:firing:1 US:firing:1")
}

func TestRuleWaitsForItsHistory(t *testing.T) {
	silent := func(r *Rule) { r.Condition = Condition{Op: "<", Value: 5} }
	e := NewEvaluator(Config{})
	needs := e.SetRules([]Bound{bind(silent)})
	if len(needs) != 1 || needs[0] != (Need{"acme", 7, 5, 301 * time.Second}) || e.Horizon() != 301*time.Second {
		t.Fatalf("%+v", needs)
	}
	expect(t, e, 100, "")
	add(e, 100, 1, "visa", "US")
	load(e, 7, delta(50, 3, "visa", "US"))
	if n, ok := e.Unload(7); !ok || n != needs[0] {
		t.Errorf("%+v %v", n, ok)
	}
	expect(t, e, 101, "")
	add(e, 102, 1, "visa", "US")
	load(e, 7, delta(99, 4, "visa", "US"))
	load(e, 7, delta(-300, 40, "visa", "US"))
	e.Loaded(7)
	expect(t, e, 102, "")
	load(e, 7, delta(102, 40, "visa", "US"))
	expect(t, e, 398, "")
	expect(t, e, 399, "=firing :firing:1")
	if needs := e.SetRules([]Bound{bind(silent)}); needs != nil {
		t.Errorf("an unchanged rule needs %+v", needs)
	}
}

func TestStatesOutliveARestart(t *testing.T) {
	b := bind(func(r *Rule) { byCountry(r); r.For = series.Duration(10 * time.Second) })
	e := start(b)
	add(e, 0, 11, "visa", "US")
	add(e, 5, 11, "visa", "DE")
	first, _ := e.Evaluate(at(5), false)
	firing, opened := e.Evaluate(at(15), false)
	if told(first, nil) != "DE=pending US=pending" || told(firing, opened) != "DE=firing US=firing DE:firing:11 US:firing:11" {
		t.Fatal(told(first, nil), told(firing, opened))
	}

	again := NewEvaluator(Config{})
	again.Restore([]State{first[0], firing[1]})
	for _, n := range again.SetRules([]Bound{b}) {
		load(again, n.RuleID, delta(0, 11, "visa", "US"))
		load(again, n.RuleID, delta(5, 11, "visa", "DE"))
		again.Loaded(n.RuleID)
	}
	_, redone := again.Evaluate(at(16), false)
	if len(redone) != 1 || redone[0].ID != opened[0].ID || !redone[0].PendingAt.Equal(at(5)) {
		t.Errorf("%+v, before %+v", redone, opened)
	}
	if states, _ := again.Evaluate(at(17), false); states != nil {
		t.Errorf("a firing state is kept: %+v", states)
	}
	_, ended := again.Evaluate(at(400), false)
	if len(ended) != 2 || ended[1].Incident != opened[1].Incident || !ended[1].StartedAt.Equal(at(15)) || ended[1].Worst != 11 {
		t.Errorf("%+v", ended)
	}
}

func TestRulesThatGoEndTheirIncidents(t *testing.T) {
	b := bind(byCountry)
	with := func(change func(*Bound)) []Bound {
		c := b
		change(&c)
		return []Bound{c}
	}
	for name, c := range map[string]struct {
		bound []Bound
		want  string
	}{
		"deleted":                {nil, "because the rule was deleted; it had been firing for 10s"},
		"disabled":               {with(func(b *Bound) { b.Rule.Enabled = false }), "because the rule was disabled"},
		"made anew":              {with(func(b *Bound) { b.Rule.ID = 9 }), "because the rule was changed"},
		"grouped otherwise":      {with(func(b *Bound) { b.Rule.GroupBy = []string{"brand"} }), "because the rule was changed"},
		"metric deleted":         {with(func(b *Bound) { b.MetricID = 0 }), "because the metric charges was deleted"},
		"metric lost dimensions": {with(func(b *Bound) { b.Dimensions = nil }), `because the metric charges no longer has the dimension "country"`},
	} {
		for _, restarted := range []bool{false, true} {
			e := start(b)
			add(e, 0, 11, "visa", "US")
			states, opened := e.Evaluate(at(0), false)
			if restarted {
				e = NewEvaluator(Config{})
				e.Restore(states)
			}
			e.SetRules(c.bound)
			gone, ended := e.Evaluate(at(10), true)
			if len(gone) != 1 || gone[0].Phase != PhaseOK || gone[0].Group != states[0].Group || gone[0].RuleID != 7 {
				t.Errorf("%s: states %+v", name, gone)
			}
			if len(ended) != 1 || ended[0].Kind != PhaseOK || ended[0].ID != opened[0].Incident+"-resolved" || !strings.Contains(ended[0].Explanation, c.want) {
				t.Errorf("%s: %+v", name, ended)
			}
			if s, tr := e.Evaluate(at(11), false); s != nil || tr != nil {
				t.Errorf("%s: told twice", name)
			}
		}
	}
}

func TestPendingOfADeletedRuleIsForgottenSilently(t *testing.T) {
	e := start(bind(func(r *Rule) { byCountry(r); r.For = series.Duration(time.Minute) }))
	add(e, 0, 11, "visa", "US")
	expect(t, e, 0, "US=pending")
	e.SetRules(nil)
	expect(t, e, 1, "US=ok")
}

func TestChangedConditionKeepsWindowsAndIncidents(t *testing.T) {
	b := bind(byCountry)
	e := start(b)
	add(e, 0, 11, "visa", "US")
	_, opened := e.Evaluate(at(0), false)
	b.Rule.Condition.Value = 5
	if needs := e.SetRules([]Bound{b}); needs != nil {
		t.Fatalf("%+v", needs)
	}
	expect(t, e, 1, "")
	b.Rule.Condition.Value = 20
	e.SetRules([]Bound{b})
	_, ended := e.Evaluate(at(2), false)
	if len(ended) != 1 || ended[0].Incident != opened[0].Incident || ended[0].Value != 11 || ended[0].Threshold != 20 {
		t.Errorf("%+v", ended)
	}
}

func TestChangedMetricKeepsIncidentsAndLoadsWindows(t *testing.T) {
	b := bind(byCountry)
	e := start(b)
	add(e, 0, 11, "visa", "US")
	expect(t, e, 0, "US=firing US:firing:11")
	b.MetricID = 6
	needs := e.SetRules([]Bound{b})
	if len(needs) != 1 || needs[0].MetricID != 6 {
		t.Fatalf("%+v", needs)
	}
	expect(t, e, 1, "")
	e.Loaded(7)
	expect(t, e, 2, "US=ok US:ok:0")
}

func TestClockThatIsSetBackKeepsWhatItHas(t *testing.T) {
	for _, kind := range []series.Kind{series.Count, series.Max, series.Unique} {
		e := start(bind(func(r *Rule) {
			byCountry(r)
			r.Agg, r.Condition, r.Window = kind, Condition{Op: ">", Value: 0}, series.Duration(time.Minute)
		}))
		add(e, 0, 1, "visa", "US")
		add(e, 30, 1, "visa", "DE")
		expect(t, e, 30, "DE=firing US=firing DE:firing:1 US:firing:1")
		expect(t, e, 10, "DE=ok DE:ok:0")
		expect(t, e, 30, "DE=firing DE:firing:1")
		expect(t, e, 90, "DE=ok US=ok DE:ok:0 US:ok:0")
	}
}

func TestNoTwoEvaluationsHaveTheSameTime(t *testing.T) {
	e := start(bind(byCountry))
	add(e, 0, 11, "visa", "US")
	first, _ := e.Evaluate(at(0), true)
	add(e, 0, 11, "visa", "DE")
	second, _ := e.Evaluate(at(0), true)
	add(e, 0, 11, "visa", "FR")
	third, _ := e.Evaluate(at(-0.5), true)
	if !first[0].Since.Before(second[0].Since) || !second[0].Since.Before(third[0].Since) {
		t.Error(first[0].Since, second[0].Since, third[0].Since)
	}
}

func TestWorstValueIsSavedOnceAMinute(t *testing.T) {
	e := start(bind(func(r *Rule) { r.Window = series.Duration(time.Hour) }))
	add(e, 0, 11, "visa", "US")
	expect(t, e, 0, "=firing :firing:11")
	var saved []float64
	for s := 1; s <= 130; s++ {
		add(e, float64(s), 1, "visa", "US")
		states, _ := e.Evaluate(at(float64(s)), true)
		for _, st := range states {
			saved = append(saved, st.Opened.Worst)
		}
	}
	if !reflect.DeepEqual(saved, []float64{71, 131}) {
		t.Error(saved)
	}
}

func TestManyTenantsShareTheBuiltInMetric(t *testing.T) {
	a, b := bind(byCountry), bind(byCountry)
	b.Rule.ID, b.Rule.Tenant = 8, "beta"
	e := start(a, b)
	add(e, 0, 11, "visa", "US")
	d := delta(0, 11, "visa", "DE")
	d.Tenant = "beta"
	e.Add(&d)
	_, transitions := e.Evaluate(at(0), false)
	if len(transitions) != 2 || transitions[0].Tenant != "acme" || transitions[0].Labels["country"] != "US" || transitions[1].Tenant != "beta" {
		t.Errorf("%+v", transitions)
	}
}

func TestLatestKeepsTheLastStateOfEachKey(t *testing.T) {
	state := func(rule int64, group string, p Phase) State { return State{RuleID: rule, Group: group, Phase: p} }
	got := Latest([]State{state(2, "b", PhasePending), state(1, "a", PhasePending), state(2, "b", PhaseFiring), state(2, "a", PhaseOK), state(2, "b", PhaseOK)})
	if want := []State{state(1, "a", PhasePending), state(2, "a", PhaseOK), state(2, "b", PhaseOK)}; !reflect.DeepEqual(got, want) {
		t.Errorf("%+v", got)
	}
}
