package storetest

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/internal/alert"
	"github.com/pulsestream/pulsestream/internal/event"
	"github.com/pulsestream/pulsestream/internal/series"
	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

func fillsAreReplaced(_ *testing.T, b *bench) {
	fill := func(t tenant.ID, metric int64, done uint64, complete bool) store.Fill {
		return store.Fill{
			Tenant: t, Metric: metric, Upto: event.Position{Seq: 100, Index: 3}, Done: event.Position{Seq: done, Index: 1 << 31}, Complete: complete,
			UpdatedAt: noon().Add(time.Duration(done)),
		}
	}
	b.commit(store.Commit{Fills: []store.Fill{fill(acme, 1, 10, false), fill(acme, 2, 10, false), fill(other, 1, 10, false)}})
	b.commit(store.Commit{Fills: []store.Fill{fill(acme, 1, 100, true), fill(acme, 3, 1, false)}})
	b.commit(store.Commit{})
	for range 2 {
		b.same("fills", b.partition(0).Fills, []store.Fill{fill(acme, 1, 100, true), fill(acme, 2, 10, false), fill(acme, 3, 1, false), fill(other, 1, 10, false)})
		b.same("fills of another partition", len(b.partition(1).Fills), 0)
		b.restart()
	}
	b.commit(store.Commit{Fills: []store.Fill{fill(acme, 1, 5, false), {Tenant: acme, Metric: 1}}})
	b.same("the last of two in one commit", b.partition(0).Fills[0], store.Fill{Tenant: acme, Metric: 1})
}

func statesAreReplacedAndRemoved(_ *testing.T, b *bench) {
	// The key of long labels holds bytes that are not UTF-8.
	long := series.Labels{string(make([]byte, 200)), "x"}.Key()
	state := func(t tenant.ID, rule int64, group string, phase alert.Phase, value float64) alert.State {
		return alert.State{
			Tenant: t, RuleID: rule, Group: group, Labels: map[string]string{"country": group}, Phase: phase, Since: noon().Add(7), Incident: "i" + group, Value: value,
		}
	}
	infinite := state(acme, 2, "", alert.PhaseFiring, math.Inf(1))
	infinite.Labels = nil
	b.commit(store.Commit{States: []alert.State{
		state(acme, 1, "DE", alert.PhasePending, 1), state(acme, 1, "FR", alert.PhaseFiring, 2), infinite, state(other, 1, "DE", alert.PhaseFiring, 3),
		{Tenant: acme, RuleID: 9, Group: long, Phase: alert.PhasePending},
	}})
	b.commit(store.Commit{States: []alert.State{state(acme, 1, "DE", alert.PhaseFiring, 4), state(acme, 1, "FR", alert.PhaseOK, 5), state(acme, 7, "", alert.PhaseOK, 0)}})
	for range 2 {
		b.same("states", b.partition(0).States, []alert.State{
			state(acme, 1, "DE", alert.PhaseFiring, 4), infinite, {Tenant: acme, RuleID: 9, Group: long, Phase: alert.PhasePending}, state(other, 1, "DE", alert.PhaseFiring, 3),
		})
		b.restart()
	}
	b.same("states of another partition", len(b.partition(1).States), 0)
	b.commit(store.Commit{States: []alert.State{{Tenant: acme, RuleID: 9, Group: long, Phase: alert.PhaseOK}}})
	b.same("states", len(b.partition(0).States), 3)
}

func theLastStateHolds(_ *testing.T, b *bench) {
	b.commit(store.Commit{States: []alert.State{
		{Tenant: acme, RuleID: 1, Phase: alert.PhaseOK}, {Tenant: acme, RuleID: 1, Phase: alert.PhaseFiring},
		{Tenant: acme, RuleID: 2, Phase: alert.PhaseFiring}, {Tenant: acme, RuleID: 2, Phase: alert.PhaseOK},
	}})
	b.same("states", b.partition(0).States, []alert.State{{Tenant: acme, RuleID: 1, Phase: alert.PhaseFiring}})
}

// firing and resolved are the transitions of acme's incident n, which began n minutes after noon.
func firing(n int) alert.Transition {
	at := noon().Add(time.Duration(n)*time.Minute + 123456789)
	return alert.Transition{
		ID: fmt.Sprintf("i%d:firing", n), Tenant: acme, Incident: fmt.Sprintf("i%d", n), RuleID: 7, Rule: []string{"errors", "slow"}[n%2], RuleName: "Errors <&> more",
		Metric: "errors", Labels: map[string]string{"country": "DE", "ü": "\u2028"}, Kind: alert.PhaseFiring, At: at, StartedAt: at, PendingAt: at.Add(-time.Minute),
		Value: 12.5, Threshold: 10, Severity: "critical", Summary: "too many errors", Explanation: "12.5 > 10 for 1m", Channels: []string{"ops", "mail"},
	}
}

func resolved(n int) alert.Transition {
	t := firing(n)
	t.ID, t.Kind, t.At = fmt.Sprintf("i%d:ok", n), alert.PhaseOK, t.StartedAt.Add(time.Hour)
	t.Value, t.Summary, t.Explanation = 3, "good again", "3 <= 10"
	return t
}

func transitionsAreNumberedAndAddedOnce(_ *testing.T, b *bench) {
	numbered := func(after uint64) string {
		s := ""
		for _, t := range b.transitions(after) {
			s += fmt.Sprint(t.Number, "=", t.ID, " ")
		}
		return s
	}
	b.commit(store.Commit{Transitions: []alert.Transition{firing(2), firing(1)}})
	b.commit(store.Commit{Partition: 1, Transitions: []alert.Transition{firing(3), firing(2), firing(3)}})
	b.commit(store.Commit{Transitions: []alert.Transition{firing(1)}})
	b.commit(store.Commit{Transitions: []alert.Transition{resolved(1)}})
	for range 2 {
		b.same("all", numbered(0), "1=i2:firing 2=i1:firing 3=i3:firing 4=i1:ok ")
		b.same("after 2", numbered(2), "3=i3:firing 4=i1:ok ")
		b.same("after 4", numbered(4), "")
		b.same("after more than there are", numbered(1<<64-1), "")
		b.restart()
	}
	some, err := b.Transitions(b.ctx, 1, 2)
	b.must(err)
	b.same("at most two", []any{len(some), some[0].Number, some[1].Number}, []any{2, 2, 3})
	incidents, err := b.Incidents(b.ctx, acme, store.IncidentQuery{})
	b.must(err)
	b.same("incidents", len(incidents), 3)
}

func transitionsComeBack(_ *testing.T, b *bench) {
	full, bare, odd := firing(1), alert.Transition{ID: "bare", Tenant: acme, Incident: "bare", Kind: alert.PhaseFiring, StartedAt: noon()}, firing(2)
	odd.Value, odd.Threshold = math.Inf(-1), math.NaN()
	b.commit(store.Commit{Transitions: []alert.Transition{full, bare, odd}})
	for i, want := range []alert.Transition{full, bare, odd} {
		b.same("transition", b.transitions(0)[i].Transition, want)
	}
}

func worstMayBeAnything(_ *testing.T, b *bench) {
	for i, worst := range []float64{math.Inf(1), math.Inf(-1), math.NaN()} {
		t := firing(i)
		t.Worst, t.Value, t.Threshold = worst, worst, worst
		b.commit(store.Commit{Transitions: []alert.Transition{t}, States: []alert.State{t.State()}})
		b.same("transitions", len(b.transitions(0)), i+1)
		for _, s := range b.partition(0).States {
			if s.Opened == nil || math.IsInf(s.Opened.Worst, 0) || math.IsNaN(s.Opened.Worst) {
				b.t.Errorf("how the incident began: %+v", s.Opened)
			}
		}
	}
}

func incidentsArePutTogether(_ *testing.T, b *bench) {
	incident := func(f alert.Transition) alert.Incident {
		return alert.Incident{
			Tenant: acme, ID: f.Incident, RuleID: f.RuleID, Rule: f.Rule, RuleName: f.RuleName, Metric: f.Metric, Labels: f.Labels, State: "firing", Severity: f.Severity,
			StartedAt: f.StartedAt, PendingAt: f.PendingAt, Value: f.Value, Threshold: f.Threshold, Summary: f.Summary, Explanation: f.Explanation, Channels: f.Channels,
		}
	}
	get := func(id string) alert.Incident {
		b.t.Helper()
		all, err := b.Incidents(b.ctx, acme, store.IncidentQuery{ID: id})
		b.must(err)
		if len(all) != 1 {
			b.t.Fatalf("%d incidents %s", len(all), id)
		}
		return all[0]
	}
	b.commit(store.Commit{Transitions: []alert.Transition{firing(1), firing(2)}})
	want := incident(firing(1))
	b.same("firing", get("i1"), want)
	b.commit(store.Commit{Transitions: []alert.Transition{resolved(1)}})
	want.State, want.ResolvedAt = "resolved", resolved(1).At
	b.same("resolved", get("i1"), want)
	b.same("still firing", get("i2"), incident(firing(2)))
}

func incidentsAreFilteredAndPaged(_ *testing.T, b *bench) {
	for n := range 6 {
		c := store.Commit{Transitions: []alert.Transition{firing(n)}}
		if n%3 == 0 {
			c.Transitions = append(c.Transitions, resolved(n))
		}
		b.commit(c)
	}
	behind := func(n int, id string) *store.IncidentCursor {
		return &store.IncidentCursor{StartedAt: firing(n).StartedAt, ID: id}
	}
	for _, c := range []struct {
		q    store.IncidentQuery
		want string
	}{
		{store.IncidentQuery{}, "[i5 i4 i3 i2 i1 i0]"},
		{store.IncidentQuery{State: "firing"}, "[i5 i4 i2 i1]"},
		{store.IncidentQuery{State: "resolved"}, "[i3 i0]"},
		{store.IncidentQuery{Rule: "slow"}, "[i5 i3 i1]"},
		{store.IncidentQuery{Rule: "slow", State: "firing", Limit: 1}, "[i5]"},
		{store.IncidentQuery{Limit: 2}, "[i5 i4]"},
		{store.IncidentQuery{Limit: 2, After: behind(4, "i4")}, "[i3 i2]"},
		{store.IncidentQuery{After: behind(0, "i0")}, "[]"},
		{store.IncidentQuery{After: behind(3, "i3z")}, "[i3 i2 i1 i0]"}, // of those that began together, the later ids come first
		{store.IncidentQuery{After: behind(3, "i2z")}, "[i2 i1 i0]"},
		{store.IncidentQuery{ID: "i3"}, "[i3]"},
		{store.IncidentQuery{ID: "i9"}, "[]"},
	} {
		all, err := b.Incidents(b.ctx, acme, c.q)
		b.must(err)
		var got []string
		for _, i := range all {
			got = append(got, i.ID)
		}
		b.same(fmt.Sprintf("%+v", c.q), got, c.want)
	}
	if _, err := b.Incidents(b.ctx, acme, store.IncidentQuery{State: "open"}); err == nil {
		b.t.Error("a state that there is not was taken")
	}
}
