package alert

import (
	"encoding/json"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/internal/series"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func at(seconds float64) time.Time { return noon.Add(time.Duration(math.Round(seconds * 1e9))) }

func ptr(v float64) *float64 { return &v }

func rule(change func(*Rule)) *Rule {
	r := &Rule{ID: 7, Tenant: "acme", Slug: "failures", Metric: "charges", Condition: Condition{Op: ">", Value: 10}, Enabled: true}
	if change != nil {
		change(r)
	}
	r.Normalize()
	return r
}

// seen is one look: at seconds after noon, a value or none, and what it leads to.
type seen struct {
	at    float64
	value float64
	none  bool
	phase Phase
	kind  Phase // of the transition, if any
}

func TestStep(t *testing.T) {
	const ok, pending, firing = PhaseOK, PhasePending, PhaseFiring
	for name, c := range map[string]struct {
		rule  func(*Rule)
		looks []seen
	}{
		"without for fires at once and resolves at once": {nil, []seen{
			{0, 10, false, ok, ""}, {1, 11, false, firing, firing}, {2, 12, false, firing, ""}, {3, 10, false, ok, ok}, {4, 1, false, ok, ""},
		}},
		"with for waits until the condition has held that long": {func(r *Rule) { r.For = series.Duration(time.Minute) }, []seen{
			{0, 11, false, pending, ""}, {59.9, 50, false, pending, ""}, {60, 11, false, firing, firing}, {61, 3, false, ok, ok},
		}},
		"flapping never completes for": {func(r *Rule) { r.For = series.Duration(2 * time.Second) }, []seen{
			{0, 11, false, pending, ""}, {1, 9, false, ok, ""}, {2, 11, false, pending, ""}, {3, 9, false, ok, ""}, {4, 11, false, pending, ""}, {6, 11, false, firing, firing},
		}},
		"clear keeps an incident open between the two values": {func(r *Rule) { r.Condition.Clear = ptr(8) }, []seen{
			{0, 9, false, ok, ""}, {1, 11, false, firing, firing}, {2, 9, false, firing, ""}, {3, 8.01, false, firing, ""}, {4, 8, false, ok, ok}, {5, 9, false, ok, ""},
		}},
		"clear does not begin or keep a pending phase": {func(r *Rule) { r.Condition.Clear = ptr(8); r.For = series.Duration(time.Minute) }, []seen{
			{0, 11, false, pending, ""}, {1, 9, false, ok, ""},
		}},
		"clear works downwards": {func(r *Rule) { r.Condition = Condition{Op: "<=", Value: 5, Clear: ptr(7)} }, []seen{
			{0, 5, false, firing, firing}, {1, 6, false, firing, ""}, {2, 7, false, ok, ok},
		}},
		"equality": {func(r *Rule) { r.Condition = Condition{Op: "==", Value: 0} }, []seen{
			{0, 1, false, ok, ""}, {1, 0, false, firing, firing}, {2, 2, false, ok, ok},
		}},
		"inequality": {func(r *Rule) { r.Condition = Condition{Op: "!=", Value: 3} }, []seen{
			{0, 3, false, ok, ""}, {1, 2, false, firing, firing}, {2, 3, false, ok, ok},
		}},
		"no data is ok": {nil, []seen{
			{0, 0, true, ok, ""}, {1, 11, false, firing, firing}, {2, 0, true, ok, ok},
		}},
		"no data is ok while pending": {func(r *Rule) { r.For = series.Duration(time.Minute) }, []seen{
			{0, 11, false, pending, ""}, {1, 0, true, ok, ""},
		}},
		"no data keeps": {func(r *Rule) { r.NoData = NoDataKeep; r.For = series.Duration(2 * time.Second) }, []seen{
			{0, 0, true, ok, ""}, {1, 11, false, pending, ""}, {5, 0, true, pending, ""}, {6, 11, false, firing, firing}, {7, 0, true, firing, ""}, {8, 1, false, ok, ok},
		}},
		"no data alerts": {func(r *Rule) { r.NoData = NoDataAlert; r.For = series.Duration(2 * time.Second) }, []seen{
			{0, 0, true, pending, ""}, {2, 0, true, firing, firing}, {3, 11, false, firing, ""}, {4, 1, false, ok, ok},
		}},
		"not a number is no data": {nil, []seen{
			{0, math.NaN(), false, ok, ""}, {1, 11, false, firing, firing}, {2, math.NaN(), false, ok, ok},
		}},
		"infinity is beyond every threshold": {nil, []seen{
			{0, math.Inf(1), false, firing, firing}, {1, math.Inf(-1), false, ok, ok},
		}},
		"a clock that was set back does not complete for": {func(r *Rule) { r.For = series.Duration(10 * time.Second) }, []seen{
			{100, 11, false, pending, ""}, {50, 11, false, pending, ""}, {59, 11, false, pending, ""}, {60, 11, false, firing, firing},
		}},
		"a clock that was set back resolves, too": {nil, []seen{
			{100, 11, false, firing, firing}, {50, 1, false, ok, ok},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			r := rule(c.rule)
			s := State{Group: GroupKey([]string{"US"}), Labels: map[string]string{"country": "US"}}
			for i, l := range c.looks {
				next, tr := Step(r, s, l.value, !l.none, at(l.at))
				var kind Phase
				if tr != nil {
					kind = tr.Kind
					checkTransition(t, r, s, tr)
				}
				if next.Phase != l.phase || kind != l.kind {
					t.Fatalf("look %d at %vs: phase %q, transition %q; want %q, %q", i, l.at, next.Phase, kind, l.phase, l.kind)
				}
				if (next.Opened != nil) != (next.Phase == firing) || (next.Incident != "") != (next.Phase == firing) {
					t.Fatalf("look %d: incident %q, opened %v in phase %s", i, next.Incident, next.Opened, next.Phase)
				}
				s = next
			}
		})
	}
}

func checkTransition(t *testing.T, r *Rule, prev State, tr *Transition) {
	t.Helper()
	if tr.Tenant != r.Tenant || tr.RuleID != r.ID || tr.Rule != r.Slug || tr.RuleName != r.Slug || tr.Metric != r.Metric || tr.Labels["country"] != "US" || tr.Severity != r.Severity {
		t.Errorf("transition lacks something: %+v", tr)
	}
	if tr.Explanation == "" || tr.At.Before(tr.StartedAt) || tr.StartedAt.Before(tr.PendingAt) {
		t.Errorf("times or explanation of %+v", tr)
	}
	if tr.Kind == PhaseOK && tr.Incident != prev.Incident {
		t.Errorf("resolves %s, not %s", tr.Incident, prev.Incident)
	}
	if _, err := json.Marshal(tr); err != nil {
		t.Error(err)
	}
}

func TestStepGivesTheSameIDsWhenDoneAgain(t *testing.T) {
	r := rule(func(r *Rule) { r.For = series.Duration(time.Minute) })
	pending, _ := Step(r, State{Group: `["US"]`}, 11, true, at(0.123456789))
	_, first := Step(r, pending, 11, true, at(61))
	pending.Since = pending.Since.Truncate(time.Microsecond) // as a store would
	_, again := Step(r, pending, 12, true, at(65))
	if first.Incident != again.Incident || first.ID != again.ID {
		t.Errorf("%s %s, again %s %s", first.Incident, first.ID, again.Incident, again.ID)
	}
	if len(first.Incident) != len("inc_")+16 || strings.Trim(first.Incident, "abcdefghijklmnopqrstuvwxyz0123456789_") != "" {
		t.Errorf("incident id %q", first.Incident)
	}
	ids := map[string]string{}
	for what, id := range map[string]string{
		"itself": first.Incident, "group": incidentID("acme", 7, `["DE"]`, noon), "tenant": incidentID("other", 7, `["US"]`, noon),
		"rule": incidentID("acme", 8, `["US"]`, noon), "time": incidentID("acme", 7, `["US"]`, at(0.001)),
	} {
		if ids[id] != "" {
			t.Errorf("%s and %s share the id %s", what, ids[id], id)
		}
		ids[id] = what
	}
}

func TestIncidentRemembersItsWorstValueAndChannels(t *testing.T) {
	r := rule(func(r *Rule) {
		r.Channels = []string{"ops"}
		r.Labels = map[string]string{"team": "pay", "country": "any"}
	})
	s, opened := Step(r, State{Group: `["US"]`, Labels: map[string]string{"country": "US"}}, 11, true, at(0))
	if opened.Labels["team"] != "pay" || opened.Labels["country"] != "US" {
		t.Errorf("labels %v", opened.Labels)
	}
	s, _ = Step(r, s, 57, true, at(1))
	s, _ = Step(r, s, 20, true, at(2))
	if opened.Worst != 11 {
		t.Errorf("the transition that was handed out has changed: worst %v", opened.Worst)
	}
	r.Channels = []string{"elsewhere"}
	_, tr := Step(r, s, 1, true, at(3))
	if tr.Worst != 57 || tr.Value != 1 || tr.Channels[0] != "ops" {
		t.Errorf("worst %v, value %v, channels %v", tr.Worst, tr.Value, tr.Channels)
	}
}

func TestExplanation(t *testing.T) {
	charges := func(r *Rule) {
		r.Where, r.GroupBy, r.For = map[string]string{"status": "failed"}, []string{"country"}, series.Duration(time.Minute)
	}
	for _, c := range []struct {
		rule     func(*Rule)
		unit     string
		value    float64
		none     bool
		end      float64
		began    string
		resolved string
	}{
		{charges, "usd", 34, false, 7,
			"count of charges where status=failed for country=US was 34 in the last 5m, above 10 (condition held since 12:01:05 UTC; began firing after 1m)",
			"count of charges where status=failed for country=US was 7 in the last 5m, no longer above 10 (fired for 2m30s since 12:02:05 UTC; worst was 34)"},
		{func(r *Rule) {
			r.Agg, r.Condition = series.P95, Condition{Op: ">=", Value: 1.5, Clear: ptr(1)}
		}, "s", 1.23456789e3, false, 1,
			"p95 of charges was 1234.57 s in the last 5m, at or above 1.5",
			"p95 of charges was 1 s in the last 5m, at or below 1, where the rule clears (fired for 2m30s since 12:01:05 UTC; worst was 1234.57 s)"},
		{func(r *Rule) { r.Agg = series.Rate }, "usd", 10.0000001, false, 0.25,
			"rate of charges was 10.0000001 per second in the last 5m, above 10",
			"rate of charges was 0.25 per second in the last 5m, no longer above 10 (fired for 2m30s since 12:01:05 UTC; worst was 10.0000001 per second)"},
		{func(r *Rule) { r.Agg, r.NoData = series.Avg, NoDataAlert }, "", 0, true, 3,
			"average of charges had no data in the last 5m, on which the rule alerts",
			"average of charges was 3 in the last 5m, no longer above 10 (fired for 2m30s since 12:01:05 UTC)"},
		{func(r *Rule) { r.Condition = Condition{Op: "<", Value: 1} }, "", 0, false, 1,
			"count of charges was 0 in the last 5m, below 1",
			"count of charges was 1 in the last 5m, no longer below 1 (fired for 2m30s since 12:01:05 UTC; worst was 0)"},
	} {
		r := rule(c.rule)
		s := State{Labels: map[string]string{"country": "US"}}
		start := at(65)
		s, tr := step(r, c.unit, s, c.value, !c.none, start)
		if tr == nil {
			start = start.Add(time.Minute)
			s, tr = step(r, c.unit, s, c.value, !c.none, start)
		}
		if tr.Explanation != c.began {
			t.Errorf("began\n got %s\nwant %s", tr.Explanation, c.began)
		}
		if _, tr = step(r, c.unit, s, c.end, true, start.Add(150*time.Second)); tr.Explanation != c.resolved {
			t.Errorf("resolved\n got %s\nwant %s", tr.Explanation, c.resolved)
		}
	}
}

func TestNumbersAndSpansReadWell(t *testing.T) {
	for v, want := range map[float64]string{0: "0", 34: "34", -2.5: "-2.5", 1234567: "1234567", 1234567.891: "1234567.89", 0.123456789: "0.123457", 1e20: "1e+20"} {
		if got := number(v); got != want {
			t.Errorf("number(%v) = %s, want %s", v, got, want)
		}
	}
	for d, want := range map[time.Duration]string{0: "0s", time.Minute: "1m", 2 * time.Hour: "2h", 125 * time.Minute: "2h5m", 10 * time.Second: "10s", 750500 * time.Millisecond: "12m30s", 250 * time.Millisecond: "250ms", 26 * time.Hour: "26h"} {
		if got := span(d); got != want {
			t.Errorf("span(%v) = %s, want %s", d, got, want)
		}
	}
	if got := shown("a, b"); got != `"a, b"` {
		t.Error(got)
	}
	if got := clock(at(-24*3600), noon); got != "2026-02-28 12:00:00 UTC" {
		t.Error(got)
	}
}

func TestStateWithoutItsOpeningStillResolves(t *testing.T) {
	r := rule(func(r *Rule) { r.Channels = []string{"ops"} })
	s, _ := Step(r, State{Labels: map[string]string{"country": "US"}}, 11, true, at(0))
	s.Opened = nil
	s, _ = Step(r, s, 12, true, at(1))
	_, tr := Step(r, s, 1, true, at(2))
	checkTransition(t, r, s, tr)
	if tr.Channels[0] != "ops" || !tr.StartedAt.Equal(at(0)) {
		t.Errorf("%+v", tr)
	}
	if _, tr = abandon(s, "the rule was deleted", at(3)); tr.Incident != s.Incident || tr.ID != s.Incident+"-resolved" {
		t.Errorf("%+v", tr)
	}
}
