package storetest

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/internal/event"
	"github.com/pulsestream/pulsestream/internal/series"
	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

func tenantsAreIsolated(t *testing.T, b *bench) {
	c := everything(1)
	foreign := everything(1) // the same names and numbers throughout
	for i := range foreign.Events {
		foreign.Events[i].Tenant = other
		foreign.Events[i].Data = []byte(`"foreign"`)
	}
	foreign.Rollups[0].Tenant = other
	foreign.Rollups[0].Agg.Add(series.Observation{At: noon(), Value: 1e9, Numeric: true})
	foreign.Fills[0].Tenant = other
	foreign.States[0].Tenant = other
	foreign.Transitions[0].Tenant, foreign.Transitions[0].ID, foreign.Transitions[0].Summary = other, "foreign", "foreign"
	b.commit(foreign)
	b.commit(c)

	for _, owner := range []tenant.ID{acme, other} {
		foreigner := owner == other
		got, err := b.Event(b.ctx, owner, "shop", "e1")
		b.must(err)
		incidents, err := b.Incidents(b.ctx, owner, store.IncidentQuery{ID: "i1"})
		b.must(err)
		rollups := b.rollups(owner, day(nil))
		b.same("number of incidents and rollups", []int{len(incidents), len(rollups)}, []int{1, 1})
		for name, seen := range map[string]bool{
			"Event":     string(got.Data) == `"foreign"`,
			"Page":      string(b.page(owner, store.Page{})[0].Data) == `"foreign"`,
			"Scan":      string(b.scan(owner, store.Scan{})[0].Data) == `"foreign"`,
			"Rollups":   rollups[0].Agg.Max > 1e6,
			"Incidents": incidents[0].Summary == "foreign",
		} {
			if seen != foreigner {
				t.Errorf("%s of %s gives the other tenant's", name, owner)
			}
		}
		b.same("number of events", []int{len(b.page(owner, store.Page{})), len(b.scan(owner, store.Scan{}))}, []int{1, 1})
	}
	nobody := tenant.ID("acm_")
	if _, err := b.Event(b.ctx, nobody, "shop", "e1"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("Event of nobody: %v", err)
	}
	b.same("of nobody", []int{len(b.page(nobody, store.Page{})), len(b.scan(nobody, store.Scan{})), len(b.rollups(nobody, day(nil)))}, []int{0, 0, 0})
	p := b.partition(0)
	b.same("fills and states of both", []int{len(p.Fills), len(p.States)}, []int{2, 2})
}

// observed is a commit of partition p whose events and rollups say the same: each counts to 10.
func observed(p int, from store.Offset) store.Commit {
	c := store.Commit{Partition: p, From: from, To: store.Offset{Incarnation: "one", Seq: from.Seq + 1}}
	owner := tenant.ID(fmt.Sprintf("tenant-%d", p))
	for i := range 10 {
		e := ev(fmt.Sprintf("%d.%d", c.To.Seq, i), int(c.To.Seq)*10+i)
		e.Tenant, e.Partition, e.Seq, e.Index = owner, p, c.To.Seq, uint32(i)
		c.Events = append(c.Events, e)
		var a series.Agg
		a.Add(series.Observation{At: e.Time, Value: 1, Numeric: true})
		c.Rollups = append(c.Rollups, series.Rollup{
			Tenant: owner, Metric: 1, Labels: series.Labels{fmt.Sprint(i)}, Step: time.Minute, Start: series.Align(e.Time, time.Minute), Agg: a,
		})
	}
	return c
}

func concurrentPartitionsAndReaders(t *testing.T, b *bench) {
	const partitions, commits = 4, 25
	var writers, readers sync.WaitGroup
	done := make(chan struct{})
	for p := range partitions {
		writers.Go(func() {
			var at store.Offset
			for range commits {
				c := observed(p, at)
				var err error
				if at, err = b.Commit(b.ctx, &c); err != nil {
					t.Errorf("partition %d: %v", p, err)
					return
				}
			}
		})
		readers.Go(func() {
			owner := tenant.ID(fmt.Sprintf("tenant-%d", p))
			for stop := false; !stop; {
				select {
				case <-done:
					stop = true
				default:
				}
				page, err := b.Page(b.ctx, owner, store.Page{Limit: 5})
				if err != nil || len(page) > 0 && page[0].Tenant != owner {
					t.Errorf("page of %s: %v, %v", owner, page, err)
					return
				}
				if n := b.count(owner); n%10 != 0 {
					t.Errorf("%s counts %d", owner, n)
				}
				if _, err := b.Partition(b.ctx, p); err != nil {
					t.Errorf("Partition: %v", err)
				}
			}
		})
	}
	writers.Wait()
	close(done)
	readers.Wait()
	for p := range partitions {
		owner := tenant.ID(fmt.Sprintf("tenant-%d", p))
		b.same("offset", b.partition(p).Offset, store.Offset{Incarnation: "one", Seq: commits, Revision: commits})
		b.same("events", len(b.scan(owner, store.Scan{})), commits*10)
		b.same("count", b.count(owner), commits*10)
		b.same("identities", len(b.identities(p, time.Time{})), commits*10)
	}
}

func readersSeeWholeCommits(t *testing.T, b *bench) {
	var writer sync.WaitGroup
	writer.Go(func() {
		var at store.Offset
		for range 40 {
			c := observed(0, at)
			var err error
			if at, err = b.Commit(b.ctx, &c); err != nil {
				t.Errorf("Commit: %v", err)
				return
			}
		}
	})
	for events := 0; events < 400 && !t.Failed(); {
		before := b.partition(0).Offset.Seq
		n := 0
		b.must(b.Scan(b.ctx, "tenant-0", store.Scan{WithoutData: true}, func(*event.Stored) error {
			n++
			return nil
		}))
		after := b.partition(0).Offset.Seq
		if n%10 != 0 || n < int(before)*10 || n > int(after)*10 {
			t.Errorf("%d events between commits %d and %d", n, before, after)
		}
		events = n
	}
	writer.Wait()
}

func callbacksMayCallTheStore(_ *testing.T, b *bench) {
	b.commit(store.Commit{Events: evs(20, nil)})
	depth := 0
	var nest func(e *event.Stored) error
	nest = func(e *event.Stored) error {
		if depth++; depth > 12 {
			return nil
		}
		if _, err := b.Event(b.ctx, acme, e.Source, e.ID); err != nil {
			return err
		}
		return b.Scan(b.ctx, acme, store.Scan{Limit: 1}, nest)
	}
	b.must(b.Scan(b.ctx, acme, store.Scan{Limit: 1}, nest))
	b.must(b.Scan(b.ctx, acme, store.Scan{}, func(e *event.Stored) error {
		if e.Index == 3 {
			b.commit(store.Commit{})
		}
		return nil
	}))
}
