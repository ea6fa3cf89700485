package postgres_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

func processesThatKeepTheBookDoNotLockEachOtherOut(t *testing.T, r *rig) {
	at := r.database(t)
	books := []store.UsageBook{open(t, at, brief).Catalog().Usage(), open(t, at, brief).Catalog().Usage()}
	rows := make([]store.Usage, 0, 4000)
	for i := range cap(rows) {
		rows = append(rows, store.Usage{Tenant: tenant.ID(fmt.Sprintf("t%04d", i)), Hour: time.Unix(0, 0).UTC(), Queries: 1, Events: 1, Revision: 1})
	}
	if err := books[0].AddUsage(t.Context(), rows); err != nil {
		t.Fatal(err)
	}
	turned := slices.Clone(rows)
	slices.Reverse(turned)
	var all sync.WaitGroup
	for i, rows := range [][]store.Usage{rows, turned} {
		all.Go(func() {
			for n := range 6 {
				rows := slices.Clone(rows)
				for k := range rows {
					rows[k].Events, rows[k].Revision = int64(n+i), int64(n+i)
				}
				if err := books[i].AddUsage(t.Context(), rows); err != nil {
					t.Error(err)
				}
				if err := books[i].KeepUsage(t.Context(), rows); err != nil {
					t.Error(err)
				}
				if err := books[i].Bill(t.Context(), rows); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	got, err := books[0].Usage(t.Context(), "", time.Unix(0, 0), time.Unix(3600, 0))
	if err != nil || len(got) != len(rows) {
		t.Fatalf("%d rows, %v", len(got), err)
	}
	for i := range got {
		if got[i].Queries != 13 || got[i].Events != 6 || got[i].Billed != 6 {
			t.Fatalf("%+v", got[i])
		}
	}
}
