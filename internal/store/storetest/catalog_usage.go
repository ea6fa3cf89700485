package storetest

import (
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

func bookedHour(h int) time.Time { return time.Date(2026, 11, 23, h, 0, 0, 0, time.UTC) }

func booked(t *testing.T, c store.Catalog, of tenant.ID, want ...store.Usage) {
	t.Helper()
	got, err := c.Usage().Usage(t.Context(), of, bookedHour(0), bookedHour(24))
	must(t, err)
	same(t, "the book of "+string(of), got, want)
}

func same(t *testing.T, what string, got, want []store.Usage) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %+v, want %+v", what, got, want)
	}
	for i := range got {
		if got[i] != want[i] {
			t.Errorf("%s: row %d is %+v, want %+v", what, i, got[i], want[i])
		}
	}
}

func (s catalogSuite) usage() map[string]func(*testing.T) {
	return map[string]func(*testing.T){
		"queries add up, of each tenant and hour": func(t *testing.T) {
			c := s.fresh(t)
			booked(t, c, "")
			b := c.Usage()
			must(t, b.AddUsage(t.Context(), nil))
			must(t, b.AddUsage(t.Context(), []store.Usage{{Tenant: "acme", Hour: bookedHour(9), Queries: 2}, {Tenant: "evil", Hour: bookedHour(9), Queries: 7}}))
			must(t, b.AddUsage(t.Context(), []store.Usage{{Tenant: "acme", Hour: bookedHour(9), Queries: 3}, {Tenant: "acme", Hour: bookedHour(10), Queries: 1}}))
			mine := []store.Usage{{Tenant: "acme", Hour: bookedHour(9), Queries: 5, Revision: 2}, {Tenant: "acme", Hour: bookedHour(10), Queries: 1, Revision: 1}}
			evil := store.Usage{Tenant: "evil", Hour: bookedHour(9), Queries: 7, Revision: 1}
			booked(t, c, "acme", mine...)
			booked(t, c, "evil", evil)
			booked(t, c, "", mine[0], mine[1], evil)
			got, err := b.Usage(t.Context(), "acme", bookedHour(9).Add(time.Minute), bookedHour(10))
			must(t, err)
			same(t, "a part of an hour", got, mine[:1])
		},
		"what the store of events has counted is kept, and never less of it": func(t *testing.T) {
			dir := t.TempDir()
			c := s.open(t, dir)
			b := c.Usage()
			must(t, b.KeepUsage(t.Context(), []store.Usage{{Tenant: "acme", Hour: bookedHour(9), Events: 5, Bytes: 50, Series: 3}}))
			must(t, b.KeepUsage(t.Context(), []store.Usage{{Tenant: "acme", Hour: bookedHour(9), Events: 5, Bytes: 50, Series: 3}}))
			must(t, b.KeepUsage(t.Context(), []store.Usage{{Tenant: "acme", Hour: bookedHour(9), Events: 1, Bytes: 10, Series: 4}})) // a store that was begun anew
			must(t, b.AddUsage(t.Context(), []store.Usage{{Tenant: "acme", Hour: bookedHour(9), Queries: 1}}))
			must(t, c.Close())
			booked(t, s.reopen(t, dir), "acme", store.Usage{Tenant: "acme", Hour: bookedHour(9), Events: 5, Bytes: 50, Series: 4, Queries: 1, Revision: 3})
		},
		"a notification is counted when it is delivered, and once": func(t *testing.T) {
			c := s.fresh(t)
			q := c.Queue()
			must(t, q.Enqueue(t.Context(), "tail", 1, []store.Job{job("acme", "a", at()), job("acme", "b", at()), job("evil", "a", at())}))
			for _, j := range wantClaim(t, q, at(), 3, "acme/a#1", "acme/b#1", "evil/a#1") {
				j.UpdatedAt, j.State = at(), store.JobQueued
				must(t, q.Finish(t.Context(), j)) // renewed
				if j.State = store.JobDone; j.ID == "b" {
					j.State = store.JobDead
				}
				must(t, q.Finish(t.Context(), j))
				must(t, q.Finish(t.Context(), j)) // the answer to the first was lost
				j.Attempts++
				wantError(t, q.Finish(t.Context(), j), store.ErrConflict)
			}
			booked(t, c, "", store.Usage{Tenant: "acme", Hour: bookedHour(9), Notifications: 1, Revision: 1}, store.Usage{Tenant: "evil", Hour: bookedHour(9), Notifications: 1, Revision: 1})
		},
		"what changed since it was billed is billed again": func(t *testing.T) {
			c := s.fresh(t)
			b := c.Usage()
			unbilled := func(before, limit int, want ...store.Usage) {
				t.Helper()
				got, err := b.Unbilled(t.Context(), bookedHour(before), limit)
				must(t, err)
				same(t, "unbilled", got, want)
			}
			must(t, b.KeepUsage(t.Context(), []store.Usage{{Tenant: "evil", Hour: bookedHour(8), Events: 1}, {Tenant: "acme", Hour: bookedHour(8), Events: 2}, {Tenant: "acme", Hour: bookedHour(9), Events: 3}}))
			acme := store.Usage{Tenant: "acme", Hour: bookedHour(8), Events: 2, Revision: 1}
			evil := store.Usage{Tenant: "evil", Hour: bookedHour(8), Events: 1, Revision: 1}
			unbilled(8, 10)
			unbilled(9, 10, acme, evil)
			unbilled(9, 1, acme)
			must(t, b.Bill(t.Context(), []store.Usage{acme}))
			unbilled(9, 10, evil)
			must(t, b.AddUsage(t.Context(), []store.Usage{{Tenant: "acme", Hour: bookedHour(8), Queries: 4}}))
			late := store.Usage{Tenant: "acme", Hour: bookedHour(8), Events: 2, Queries: 4, Revision: 2, Billed: 1}
			unbilled(9, 10, late, evil)
			must(t, b.Bill(t.Context(), []store.Usage{late, evil}))
			must(t, b.Bill(t.Context(), []store.Usage{acme})) // another sender's, that was slow
			unbilled(9, 10)
		},
		"usage moves no revision of the catalog": func(t *testing.T) {
			c := s.fresh(t)
			before, err := c.Revision(t.Context())
			must(t, err)
			must(t, c.Usage().AddUsage(t.Context(), []store.Usage{{Tenant: "acme", Hour: bookedHour(9), Queries: 2}}))
			if after, err := c.Revision(t.Context()); err != nil || after != before {
				t.Errorf("from %d to %d, %v", before, after, err)
			}
		},
	}
}
