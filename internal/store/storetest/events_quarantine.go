package storetest

import (
	"fmt"
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/internal/alert"
	"github.com/pulsestream/pulsestream/internal/event"
	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

func poison(t tenant.ID, id, reason string) store.Quarantined {
	return store.Quarantined{
		QuarantineKey: store.QuarantineKey{Tenant: t, ID: id}, Position: event.Position{Seq: 7, Index: 3}, Stage: "aggregate", Reason: reason, At: noon(), Attempts: 1,
		Event: &event.Event{ID: id, Source: "s", Type: "t", Time: noon().Add(1), Received: noon().Add(time.Second), Data: []byte("{\"a\":\"\\u0000\"}"), Identified: true},
	}
}

// shown is what entries hold, pointers followed.
func shown(all ...store.Quarantined) []string {
	var out []string
	for _, q := range all {
		var ev event.Event
		if q.Event != nil {
			ev = *q.Event
		}
		q.Event = nil
		out = append(out, fmt.Sprintf("%+v %+v", q, ev))
	}
	return out
}

func quarantineIsKeptUntilReleased(_ *testing.T, b *bench) {
	one, two, others := poison(acme, "1", "boom"), poison(acme, "2", "bang"), poison(other, "1", "boom")
	raw := store.Quarantined{QuarantineKey: store.QuarantineKey{ID: "m"}, Position: event.Position{Seq: 8}, Stage: "decode", Reason: "?", Raw: []byte{0, 255}, At: noon(), Attempts: 1}
	b.commit(store.Commit{Quarantine: []store.Quarantined{one, two, others, raw}})
	get := func(t tenant.ID, q store.QuarantineQuery) []string {
		b.t.Helper()
		out, err := b.Quarantined(b.ctx, t, q)
		b.must(err)
		return shown(out...)
	}
	for range 2 {
		b.same("all of a tenant", get(acme, store.QuarantineQuery{}), shown(one, two))
		b.same("those named", get(acme, store.QuarantineQuery{IDs: []string{"2", "9"}}), shown(two))
		b.same("a page", get(acme, store.QuarantineQuery{Limit: 1}), shown(one))
		b.same("the page behind it", get(acme, store.QuarantineQuery{After: "1", Limit: 5}), shown(two))
		b.same("the other tenant's", get(other, store.QuarantineQuery{}), shown(others))
		b.same("a message of nobody known", get("", store.QuarantineQuery{}), shown(raw))
		b.same("keys", b.partition(0).Quarantined, []store.QuarantineKey{raw.QuarantineKey, one.QuarantineKey, two.QuarantineKey, others.QuarantineKey})
		b.restart()
	}
	again := poison(acme, "1", "boom again")
	b.commit(store.Commit{Quarantine: []store.Quarantined{again}})
	again.Attempts = 2
	b.same("after another attempt", get(acme, store.QuarantineQuery{}), shown(again, two))
	b.commit(store.Commit{Released: []store.QuarantineKey{one.QuarantineKey, {Tenant: acme, ID: "unknown"}}})
	b.same("after a release", get(acme, store.QuarantineQuery{}), shown(two))
	b.same("the other tenant's stays", get(other, store.QuarantineQuery{}), shown(others))
}

func aStateKeepsItsIncident(_ *testing.T, b *bench) {
	opened := firing(1)
	state := alert.State{Tenant: acme, RuleID: 1, Group: `["DE"]`, Labels: map[string]string{"country": "DE"}, Phase: alert.PhaseFiring, Since: noon(), Incident: "i", Opened: &opened}
	b.commit(store.Commit{States: []alert.State{state}})
	for range 2 {
		got := b.partition(0).States
		b.same("states", len(got), 1)
		b.same("how it began", *got[0].Opened, opened)
		b.restart()
	}
}
