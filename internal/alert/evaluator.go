package alert

import (
	"cmp"
	"slices"
	"strconv"
	"time"

	"github.com/pulsestream/pulsestream/internal/series"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

// DefaultMaxGroups is how many groups of labels a rule may have, unless a Config says otherwise.
const DefaultMaxGroups = 1000

// Config of an Evaluator.
type Config struct {
	// MaxGroups bounds the groups of a rule; further ones are counted together in one group whose labels
	// are series.OtherValue. 0 means DefaultMaxGroups.
	MaxGroups int
}

// Bound is a rule with what is to be known of its metric.
type Bound struct {
	Rule Rule
	// MetricID is the generation of the metric's definition, 0 when there is no such metric any more.
	MetricID   int64
	Dimensions []string // names, in the order of a series' labels
	Unit       string
}

// Need is a rule whose window is empty and has to be loaded: its metric's observations of the last Back.
type Need struct {
	Tenant   tenant.ID
	RuleID   int64
	MetricID int64
	Back     time.Duration
}

// Stats are figures about an Evaluator.
type Stats struct {
	Rules   int    // that are evaluated, or will be once loaded
	Waiting int    // of these, those whose window is not loaded
	Groups  int    // of labels
	Folded  uint64 // additions to the group of the rest, since the start
	Late    uint64 // additions that were dropped as older than the window, since the start
}

// Evaluator evaluates the rules of one partition's owner, of any number of tenants. It is not safe for concurrent use: the
// partition's worker owns it.
type Evaluator struct {
	maxGroups int
	now       time.Time // of the last Evaluate
	rules     map[int64]*running
	order     []*running // by tenant and rule
	byMetric  map[metricKey][]*running
	// stirred are the rules of which a group was touched since the last Evaluate, and those that came with it. When the time of
	// Evaluate falls into another second than lastly, they are all looked at.
	stirred []*running
	second  int64
	held    []State    // restored, and not yet given to their rules
	gone    []farewell // states to be ended by the next Evaluate
	folded  uint64
	late    uint64
}

// metricKey needs the tenant, too: the built-in metric has the same ID in all.
type metricKey struct {
	tenant tenant.ID
	id     int64
}

// farewell is a state whose rule is no longer evaluated, and why.
type farewell struct {
	state State
	why   string
}

// NewEvaluator returns an evaluator without rules.
func NewEvaluator(c Config) *Evaluator {
	if c.MaxGroups <= 0 {
		c.MaxGroups = DefaultMaxGroups
	}
	return &Evaluator{maxGroups: c.MaxGroups}
}

// SetRules replaces the rules; it must be given disabled ones, too, so that it can tell them from deleted ones. A rule
// that looks at what it looked at before keeps its windows. For the others it returns which history to load: such a
// rule takes part in Add from now on, and in Evaluate after Loaded. What is loaded must therefore be exactly what was
// added before this call. A rule whose history was asked for before is not named again.
//
// Incidents of rules that are gone end with the next Evaluate.
func (e *Evaluator) SetRules(bound []Bound) []Need {
	old := e.rules
	e.rules = make(map[int64]*running, len(bound))
	inactive := make(map[int64]string)
	slugs := make(map[string]bool, len(bound))
	var needs []Need
	for _, b := range bound {
		b.Rule.Normalize()
		id := b.Rule.ID
		slugs[slugKey(b.Rule.Tenant, b.Rule.Slug)] = true
		if why := b.inactive(); why != "" {
			inactive[id] = why
			continue
		}
		before := old[id]
		if before != nil && before.sameWindows(&b) {
			before.update(&b)
			e.rules[id] = before
			continue
		}
		r := newRunning(&b)
		e.rules[id] = r
		needs = append(needs, r.need())
		if before != nil {
			e.held = append(e.held, before.states()...)
		}
	}
	for id, r := range old {
		if e.rules[id] == nil {
			e.held = append(e.held, r.states()...)
		}
	}
	e.index()
	e.attach(func(s *State) string {
		switch why := inactive[s.RuleID]; {
		case why != "":
			return why
		case s.Opened != nil && slugs[slugKey(s.Tenant, s.Opened.Rule)]:
			return "the rule was changed"
		}
		return "the rule was deleted"
	})
	return needs
}

func slugKey(t tenant.ID, slug string) string { return string(t) + "\x00" + slug }

// inactive says why a rule cannot be evaluated, or nothing.
func (b *Bound) inactive() string {
	switch {
	case !b.Rule.Enabled:
		return "the rule was disabled"
	case b.MetricID == 0:
		return "the metric " + b.Rule.Metric + " was deleted"
	}
	for _, d := range b.Rule.GroupBy {
		if !slices.Contains(b.Dimensions, d) {
			return "the metric " + b.Rule.Metric + " no longer has the dimension " + strconv.Quote(d)
		}
	}
	for d := range b.Rule.Where {
		if !slices.Contains(b.Dimensions, d) {
			return "the metric " + b.Rule.Metric + " no longer has the dimension " + strconv.Quote(d)
		}
	}
	return ""
}

// index makes the orders in which rules are found.
func (e *Evaluator) index() {
	e.order, e.stirred, e.second = e.order[:0], e.stirred[:0], never
	for _, r := range e.rules {
		r.stirred = false
	}
	e.byMetric = make(map[metricKey][]*running)
	for _, r := range e.rules {
		e.order = append(e.order, r)
	}
	slices.SortFunc(e.order, func(a, b *running) int {
		return cmp.Or(cmp.Compare(a.rule.Tenant, b.rule.Tenant), cmp.Compare(a.rule.ID, b.rule.ID))
	})
	for _, r := range e.order {
		k := metricKey{r.rule.Tenant, r.metric}
		e.byMetric[k] = append(e.byMetric[k], r)
	}
}

// Restore takes the committed states over. It is called once, before the first SetRules, which gives them to their rules.
func (e *Evaluator) Restore(states []State) { e.held = append(e.held, states...) }

// attach gives held states to their rules, and ends those that have none.
func (e *Evaluator) attach(why func(*State) string) {
	for i := range e.held {
		s := &e.held[i]
		r := e.rules[s.RuleID]
		switch {
		case r == nil || r.rule.Tenant != s.Tenant:
			e.gone = append(e.gone, farewell{*s, why(s)})
		case !r.adopt(*s):
			e.gone = append(e.gone, farewell{*s, "the rule was changed"})
		}
	}
	e.held = nil
}

// Load counts history for the fresh window of one rule: what was added to the metric before SetRules asked for it, in
// any order. What the rule doesn't look at is ignored.
func (e *Evaluator) Load(ruleID int64, d *series.Delta) {
	if r := e.rules[ruleID]; r != nil && !r.loaded && r.metric == d.Metric && r.rule.Tenant == d.Tenant {
		e.addTo(r, d)
	}
}

// Loaded says that a rule's history is complete: from the next Evaluate on it is evaluated.
func (e *Evaluator) Loaded(ruleID int64) {
	if r := e.rules[ruleID]; r != nil {
		r.loaded = true
		e.second = never
	}
}

// Unload empties the windows of a rule again, because loading has failed half-way: the history asked for now is what
// was added before this call. It is false when there is no such rule any more.
func (e *Evaluator) Unload(ruleID int64) (Need, bool) {
	r := e.rules[ruleID]
	if r == nil {
		return Need{}, false
	}
	r.unload()
	return r.need(), true
}

// Add counts what one second of one series has seen. It keeps nothing of d, and costs one look into a map when no
// rule is about the metric.
func (e *Evaluator) Add(d *series.Delta) {
	for _, r := range e.byMetric[metricKey{d.Tenant, d.Metric}] {
		e.addTo(r, d)
	}
}

// Watch is the rules about one metric. It holds until the next SetRules.
type Watch struct{ rules []*running }

// Watch finds the rules about a metric, for AddTo.
func (e *Evaluator) Watch(t tenant.ID, metric int64) Watch {
	return Watch{e.byMetric[metricKey{t, metric}]}
}

// AddTo is Add for a metric whose rules have been found.
func (e *Evaluator) AddTo(w Watch, d *series.Delta) {
	for _, r := range w.rules {
		e.addTo(r, d)
	}
}

func (e *Evaluator) addTo(r *running, d *series.Delta) {
	if !r.matches(d.Labels) {
		return
	}
	at := r.shape.bucketOf(d.Second)
	if at <= r.cur-r.shape.n {
		e.late++
		return
	}
	g, folded := r.group(d.Labels, e.maxGroups)
	if folded {
		r.folded++
		e.folded++
	}
	g.window.add(&r.shape, at, &d.Agg)
	r.touch(g)
	if !r.stirred {
		r.stirred = true
		e.stirred = append(e.stirred, r)
	}
}

// Evaluate looks at all groups whose value or phase may have changed since the last time, and returns the states that
// have changed (PhaseOK is to be removed) and the transitions, by tenant, rule and group. No state is returned twice; what
// is returned shares its maps with the evaluator and is only to be read. With onlyTouched it looks only
// at those to which something was added, and not at aggregations that need sketches: enough after each batch, when
// the rest is looked at every second.
//
// Now is the time of the partition: the wall clock, or while there is a backlog, the time at which the last
// event was received. Two calls never have the same time: a millisecond is added when need be.
func (e *Evaluator) Evaluate(now time.Time, onlyTouched bool) ([]State, []Transition) {
	now, back := e.tick(now)
	var out results
	for _, f := range e.gone {
		out.take(abandon(f.state, f.why, now))
	}
	e.gone = nil
	rules := e.order
	if second := now.Unix(); onlyTouched && !back && second == e.second {
		rules = e.stirred // nothing about the others has changed, and their buckets are the same
	} else {
		e.second = second
	}
	for _, r := range rules {
		if r.loaded {
			r.evaluate(now, onlyTouched && !back, back, &out)
		}
	}
	for _, r := range e.stirred {
		r.stirred = false
	}
	clear(e.stirred)
	e.stirred = e.stirred[:0]
	return out.split()
}

// tick takes the time of an evaluation, and says whether the clock was set back. Jitter is no such thing.
func (e *Evaluator) tick(now time.Time) (at time.Time, back bool) {
	now = now.UTC().Truncate(time.Millisecond)
	if !e.now.IsZero() && !now.After(e.now) {
		if e.now.Sub(now) < time.Second {
			now = e.now.Add(time.Millisecond)
		} else {
			back = true
		}
	}
	e.now = now
	return now, back
}

// Horizon is how far back the longest window reaches: older history is of no use.
func (e *Evaluator) Horizon() time.Duration {
	var h time.Duration
	for _, r := range e.order {
		h = max(h, r.need().Back)
	}
	return h
}

// Stats are the figures of the moment.
func (e *Evaluator) Stats() Stats {
	s := Stats{Rules: len(e.order), Folded: e.folded, Late: e.late}
	for _, r := range e.order {
		s.Groups += len(r.list)
		if !r.loaded {
			s.Waiting++
		}
	}
	return s
}

// Folded gives the rules that have had more groups than they may, and how often something was counted in the group of the
// rest.
func (e *Evaluator) Folded() map[int64]uint64 {
	folded := make(map[int64]uint64)
	for id, r := range e.rules {
		if r.folded > 0 {
			folded[id] = r.folded
		}
	}
	return folded
}

// results collects what an evaluation has changed.
type results []change

type change struct {
	state      State
	transition *Transition
}

func (o *results) take(s State, t *Transition) { *o = append(*o, change{s, t}) }

// split makes the order independent of how groups came to be.
func (o results) split() (states []State, transitions []Transition) {
	slices.SortStableFunc(o, func(a, b change) int { return byKey(&a.state, &b.state) })
	for _, c := range o {
		states = append(states, c.state)
		if c.transition != nil {
			transitions = append(transitions, *c.transition)
		}
	}
	return Latest(states), transitions
}

// Latest sorts states by their key and keeps the last of each: what a commit of several evaluations needs.
func Latest(states []State) []State {
	slices.SortStableFunc(states, func(a, b State) int { return byKey(&a, &b) })
	kept := states[:0]
	for _, s := range states {
		if n := len(kept); n > 0 && byKey(&kept[n-1], &s) == 0 {
			kept[n-1] = s
		} else {
			kept = append(kept, s)
		}
	}
	return kept
}

func byKey(a, b *State) int {
	return cmp.Or(cmp.Compare(a.Tenant, b.Tenant), cmp.Compare(a.RuleID, b.RuleID), cmp.Compare(a.Group, b.Group))
}
