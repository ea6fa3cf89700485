package alert

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"strings"
	"time"

	"github.com/pulsestream/pulsestream/internal/tenant"
)

// Step moves a rule's state for one group on by one look at its value; the state machine is drawn in the package
// comment. Without hasValue the window had no value. It returns the next state, and a transition when an incident
// began or ended. Prev holds at least Group and Labels, also for a group that was never looked at.
func Step(r *Rule, prev State, value float64, hasValue bool, now time.Time) (State, *Transition) {
	return step(r, "", prev, value, hasValue, now)
}

func step(r *Rule, unit string, prev State, value float64, hasValue bool, now time.Time) (State, *Transition) {
	l := look{rule: r, unit: unit, value: value, has: hasValue && !math.IsNaN(value), now: now}
	// The sum of finite values may overflow; what is stored and sent as JSON must be finite.
	l.value = math.Max(-math.MaxFloat64, math.Min(math.MaxFloat64, l.value))
	if !l.has {
		l.value = 0
	}
	next := prev
	next.Tenant, next.RuleID = r.Tenant, r.ID
	if next.Phase == "" {
		next.Phase, next.Since = PhaseOK, now
	}
	bad, known := r.holds(next.Phase, l.value, l.has)
	switch {
	case !known:
		return next, nil
	case next.Phase == PhaseFiring && bad:
		return r.worsen(next, l), nil
	case next.Phase == PhaseFiring:
		return l.resolve(next)
	case !bad && next.Phase == PhaseOK:
		return next, nil
	case !bad:
		return next.ok(now), nil
	}
	if next.Phase == PhaseOK || now.Before(next.Since) {
		next.Since = now
	}
	if now.Sub(next.Since) >= time.Duration(r.For) {
		return l.fire(next)
	}
	if next.Phase == PhaseOK {
		next.Phase, next.Value = PhasePending, l.value
	}
	return next, nil
}

// look is one look at the value of a rule's window.
type look struct {
	rule  *Rule
	unit  string
	value float64
	has   bool
	now   time.Time
}

// holds says whether the condition holds for a value, from the phase it is looked at in; known is false when there is nothing
// to judge by.
func (r *Rule) holds(p Phase, v float64, has bool) (bad, known bool) {
	if !has {
		return r.NoData == NoDataAlert, r.NoData != NoDataKeep
	}
	c := &r.Condition
	if p == PhaseFiring && c.Clear != nil {
		switch c.Op {
		case ">", ">=":
			return v > *c.Clear, true
		case "<", "<=":
			return v < *c.Clear, true
		}
	}
	return c.holds(v), true
}

func (c *Condition) holds(v float64) bool {
	switch c.Op {
	case ">":
		return v > c.Value
	case ">=":
		return v >= c.Value
	case "<":
		return v < c.Value
	case "<=":
		return v <= c.Value
	case "==":
		return v == c.Value
	case "!=":
		return v != c.Value
	}
	return false
}

// worse is the value of the two that is farther beyond the threshold.
func (c *Condition) worse(a, b float64) float64 {
	switch c.Op {
	case ">", ">=":
		return math.Max(a, b)
	case "<", "<=":
		return math.Min(a, b)
	}
	if math.Abs(b-c.Value) > math.Abs(a-c.Value) {
		return b
	}
	return a
}

// worsen remembers the worst value of an incident.
func (r *Rule) worsen(s State, l look) State {
	if s.Opened == nil || !l.has {
		return s
	}
	if w := r.Condition.worse(s.Opened.Worst, l.value); w != s.Opened.Worst {
		opened := *s.Opened
		opened.Worst = w
		s.Opened = &opened
	}
	return s
}

// ok is the state with nothing to remember.
func (s State) ok(now time.Time) State {
	return State{Tenant: s.Tenant, RuleID: s.RuleID, Group: s.Group, Labels: s.Labels, Phase: PhaseOK, Since: now}
}

// fire begins an incident; s.Since is when the condition began to hold.
func (l look) fire(s State) (State, *Transition) {
	r := l.rule
	pending := s.Since
	t := &Transition{
		Tenant: r.Tenant, Incident: incidentID(r.Tenant, r.ID, s.Group, pending), RuleID: r.ID, Rule: r.Slug, RuleName: r.title(),
		Metric: r.Metric, Labels: merged(r.Labels, s.Labels), Group: s.Group, GroupLabels: s.Labels, Kind: PhaseFiring, At: l.now, StartedAt: l.now, PendingAt: pending,
		Value: l.value, Worst: l.value, Threshold: r.Condition.Value, Severity: r.Severity, Summary: r.Summary, Channels: r.Channels,
	}
	t.ID = t.Incident + "-firing"
	t.Explanation = l.whyFiring(s)
	opened := *t
	s.Phase, s.Since, s.Incident, s.Value, s.Opened = PhaseFiring, l.now, t.Incident, l.value, &opened
	return s, t
}

// resolve ends an incident by its value.
func (l look) resolve(s State) (State, *Transition) {
	t := s.closing(l.now)
	t.RuleName, t.Metric, t.Threshold, t.Severity, t.Summary = l.rule.title(), l.rule.Metric, l.rule.Condition.Value, l.rule.Severity, l.rule.Summary
	if t.Rule == "" {
		t.Rule, t.Channels, t.Labels = l.rule.Slug, l.rule.Channels, merged(l.rule.Labels, s.Labels)
	}
	t.Value = l.value
	t.Explanation = l.whyResolved(s, t)
	return s.ok(t.At), t
}

// abandon ends whatever a group was in because its rule is no longer evaluated: why is "the rule was deleted" or the like.
func abandon(s State, why string, now time.Time) (State, *Transition) {
	if s.Phase != PhaseFiring {
		return s.ok(now), nil
	}
	t := s.closing(now)
	t.Explanation = "Resolved without a new value because " + why + "; it had been firing for " + span(t.At.Sub(t.StartedAt)) + "."
	return s.ok(t.At), t
}

// closing is the transition that ends the incident of s. Those who were told of its beginning are told of its end, so it
// goes to the channels it began with.
func (s State) closing(now time.Time) *Transition {
	t := Transition{Tenant: s.Tenant, Incident: s.Incident, RuleID: s.RuleID, Labels: s.Labels, StartedAt: s.Since, PendingAt: s.Since, Value: s.Value, Worst: s.Value}
	if s.Opened != nil {
		t = *s.Opened
	}
	t.ID, t.Kind, t.At = t.Incident+"-resolved", PhaseOK, now
	if t.At.Before(t.StartedAt) {
		t.At = t.StartedAt
	}
	return &t
}

// incidentID names the incident of a rule and group whose condition began to hold at pending. It is short, safe in a URL, and
// the same whenever the work is done again: to the millisecond, since stores keep no nanoseconds.
func incidentID(t tenant.ID, rule int64, group string, pending time.Time) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\x00%d\x00%s\x00%d", t, rule, group, pending.UnixMilli()))
	return "inc_" + strings.ToLower(base32.HexEncoding.WithPadding(base32.NoPadding).EncodeToString(sum[:10]))
}

// State is the state of the rule and group that a firing transition left behind: what a store that has lost it is given back.
func (t *Transition) State() State {
	opened := *t
	return State{Tenant: t.Tenant, RuleID: t.RuleID, Group: t.Group, Labels: t.GroupLabels, Phase: PhaseFiring, Since: t.At, Incident: t.Incident, Value: t.Value, Opened: &opened}
}

// OpenStates are the states of what fires after all of these transitions, in their order: what rules begin with where only the transitions were kept.
func OpenStates(all []Transition) []State {
	open := map[string]int{}
	for i := range all {
		if all[i].Kind == PhaseFiring {
			open[all[i].Incident] = i
		} else {
			delete(open, all[i].Incident)
		}
	}
	var states []State
	for i := range all {
		if at, ok := open[all[i].Incident]; ok && at == i {
			states = append(states, all[i].State())
		}
	}
	return states
}

// GroupKey is the text that names a group by its values: a JSON array, so that no two groups share one and every store can
// keep it as text. A rule without group_by has the one group "".
func GroupKey(values []string) string {
	if len(values) == 0 {
		return ""
	}
	b, _ := json.Marshal(values) //nolint:errchkjson // a []string always marshals
	return string(b)
}

// title is what people call the rule.
func (r *Rule) title() string {
	if r.Name != "" {
		return r.Name
	}
	return r.Slug
}

// merged is what an incident is labelled with: the rule's labels, then those of the group, which tell what was seen and so win.
func merged(rule, group map[string]string) map[string]string {
	out := make(map[string]string, len(rule)+len(group))
	maps.Copy(out, rule)
	maps.Copy(out, group)
	return out
}
