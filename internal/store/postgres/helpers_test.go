package postgres_test

import (
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/internal/alert"
	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/store/postgres"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

type tenantID = tenant.ID

func noon() time.Time { return time.Date(2026, 3, 14, 12, 0, 0, 0, time.UTC) }

func transitionOf(t tenantID) alert.Transition {
	return alert.Transition{ID: "t", Tenant: t, Incident: "i", Rule: "rule", Kind: alert.PhaseFiring, At: noon(), StartedAt: noon()}
}

func stateOf(t tenantID) alert.State {
	return alert.State{Tenant: t, RuleID: 1, Phase: alert.PhaseFiring, Since: noon(), Incident: "i"}
}

func put(tb testing.TB, db *postgres.DB, t tenantID, slug string) store.Resource {
	tb.Helper()
	r, err := db.Catalog().Put(tb.Context(), store.Put{Tenant: t, Kind: store.KindRule, Slug: slug, Body: []byte(`{}`), At: noon()})
	if err != nil {
		tb.Fatal(err)
	}
	return r
}

// until polls for what must become so.
func until(tb testing.TB, what string, so func() bool) {
	tb.Helper()
	deadline := time.Now().Add(30 * time.Second)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !so() {
		if time.Now().After(deadline) {
			tb.Fatal("not within 30 seconds: ", what)
		}
		<-tick.C
	}
}
