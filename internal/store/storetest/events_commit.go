package storetest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/internal/alert"
	"github.com/pulsestream/pulsestream/internal/event"
	"github.com/pulsestream/pulsestream/internal/series"
	"github.com/pulsestream/pulsestream/internal/store"
)

func aPartitionBeginsAtZero(_ *testing.T, b *bench) {
	b.same("partition 7", b.partition(7), store.PartitionState{})
}

func aCommitMovesTheOffset(_ *testing.T, b *bench) {
	to, err := b.Commit(b.ctx, &store.Commit{To: store.Offset{Incarnation: "one", Seq: 12, Revision: 99}})
	b.must(err)
	b.same("offset", to, store.Offset{Incarnation: "one", Seq: 12, Revision: 1})
	to, err = b.Commit(b.ctx, &store.Commit{From: to, To: store.Offset{Incarnation: "one", Seq: 1<<64 - 1}})
	b.must(err)
	b.same("offset", to, store.Offset{Incarnation: "one", Seq: 1<<64 - 1, Revision: 2})
	b.same("stored offset", b.partition(0).Offset, to)
	b.same("another partition's offset", b.partition(1).Offset, store.Offset{})
}

func oneOfTwoCommitsWins(_ *testing.T, b *bench) {
	b.commit(store.Commit{Events: evs(1, nil)})
	from := b.offsets[0]
	b.commit(store.Commit{Events: []event.Stored{ev("first", 10)}})
	late := ev("second", 11)
	late.Seq = 2
	b.fenced(store.Commit{From: from, To: store.Offset{Incarnation: "one", Seq: 2}, Events: []event.Stored{late}})
	b.same("events", ids(b.page(acme, store.Page{})), []string{"first", "e0"})
	b.same("offset", b.partition(0).Offset, b.offsets[0])
}

func oneOfManyConcurrentCommitsWins(t *testing.T, b *bench) {
	var won atomic.Int32
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			e := ev(fmt.Sprint(i), i)
			e.Seq = 1
			_, err := b.Commit(b.ctx, &store.Commit{To: store.Offset{Incarnation: "one", Seq: 1}, Events: []event.Stored{e}})
			switch {
			case err == nil:
				won.Add(1)
			case !errors.Is(err, store.ErrFenced):
				t.Errorf("Commit: %v, want nil or ErrFenced", err)
			}
		})
	}
	all.Wait()
	if won.Load() != 1 {
		t.Errorf("%d commits won", won.Load())
	}
	if n := len(b.page(acme, store.Page{})); n != 1 {
		t.Errorf("%d events are stored", n)
	}
}

func anyDifferentOffsetIsFenced(_ *testing.T, b *bench) {
	b.commit(store.Commit{})
	b.commit(store.Commit{})
	for _, from := range []store.Offset{
		{},
		{Incarnation: "one", Seq: 2, Revision: 1},
		{Incarnation: "one", Seq: 1, Revision: 2},
		{Incarnation: "two", Seq: 2, Revision: 2},
		{Incarnation: "", Seq: 2, Revision: 2},
		{Incarnation: "one", Seq: 2, Revision: 3},
	} {
		b.fenced(store.Commit{From: from, To: store.Offset{Incarnation: "one", Seq: 3}})
	}
	b.fenced(store.Commit{Partition: 1, From: b.offsets[0], To: store.Offset{Incarnation: "one", Seq: 3}})
	b.commit(store.Commit{})
}

func aTickKeepsThePosition(_ *testing.T, b *bench) {
	b.commit(store.Commit{Events: evs(1, nil)})
	at := b.offsets[0]
	to, err := b.Commit(b.ctx, &store.Commit{From: at, To: at, States: []alert.State{{Tenant: acme, RuleID: 1, Phase: alert.PhasePending}}})
	b.must(err)
	b.same("offset", to, store.Offset{Incarnation: at.Incarnation, Seq: at.Seq, Revision: at.Revision + 1})
	b.fenced(store.Commit{From: at, To: at})
	b.same("states", len(b.partition(0).States), 1)
}

func aNewIncarnationStartsAgain(_ *testing.T, b *bench) {
	for range 5 {
		b.commit(store.Commit{Events: evs(1, nil)})
	}
	e := ev("again", 3600)
	e.Seq = 2
	to, err := b.Commit(b.ctx, &store.Commit{From: b.offsets[0], To: store.Offset{Incarnation: "two", Seq: 2}, Events: []event.Stored{e}})
	b.must(err)
	b.same("offset", to, store.Offset{Incarnation: "two", Seq: 2, Revision: 6})
	b.same("events", len(b.page(acme, store.Page{})), 6)
	b.same("events of the scan", len(b.scan(acme, store.Scan{})), 6)
	b.same("identities", len(b.identities(0, time.Time{})), 6)
}

// everything is a commit with one of each.
func everything(n int) store.Commit {
	at := noon().Add(time.Duration(n) * time.Minute)
	var a series.Agg
	a.Add(series.Observation{At: at, Value: float64(n), Numeric: true, Distinct: uint64(n), HasDistinct: true})
	return store.Commit{
		Events:  []event.Stored{ev(fmt.Sprintf("e%d", n), n)},
		Rollups: []series.Rollup{{Tenant: acme, Metric: 1, Labels: series.Labels{"DE"}, Step: time.Minute, Start: at, Agg: a}},
		Fills:   []store.Fill{{Tenant: acme, Metric: int64(n), Upto: event.Position{Seq: 9, Index: 8}, UpdatedAt: at}},
		States:  []alert.State{{Tenant: acme, RuleID: int64(n), Group: "g", Phase: alert.PhasePending, Since: at}},
		Transitions: []alert.Transition{{
			ID: fmt.Sprintf("t%d", n), Tenant: acme, Incident: fmt.Sprintf("i%d", n), Kind: alert.PhaseFiring, At: at, StartedAt: at,
		}},
	}
}

// counts says how much of each there is.
func (b *bench) counts() string {
	b.t.Helper()
	p := b.partition(0)
	incidents, err := b.Incidents(b.ctx, acme, store.IncidentQuery{})
	b.must(err)
	rollups := b.rollups(acme, store.RollupQuery{Metric: 1, Step: time.Minute, From: noon(), To: noon().Add(time.Hour)})
	return fmt.Sprintf("%d events, %d identities, %d rollups, %d fills, %d states, %d transitions, %d incidents, at %d", len(b.page(acme, store.Page{})),
		len(b.identities(0, time.Time{})), len(rollups), len(p.Fills), len(p.States), len(b.transitions(0)), len(incidents), p.Offset.Seq)
}

func aDryRunWritesNothing(_ *testing.T, b *bench) {
	b.commit(store.Commit{Events: evs(2, nil)})
	at, before := b.offsets[0], ids(b.page(acme, store.Page{}))
	dry := func(c store.Commit) error {
		c.From, c.To, c.DryRun = at, store.Offset{Incarnation: "one", Seq: at.Seq + 1}, true
		for i := range c.Events {
			c.Events[i].Seq = at.Seq + 1
		}
		offset, err := b.Commit(b.ctx, &c)
		if err == nil {
			b.same("offset", offset, at)
		}
		return err
	}
	full := store.Commit{
		Events: []event.Stored{ev("dry", 20)}, States: []alert.State{{Tenant: acme, RuleID: 1, Phase: alert.PhaseFiring}}, Transitions: []alert.Transition{firing(1)},
		Rollups: []series.Rollup{{Tenant: acme, Metric: 1, Step: time.Minute, Start: noon()}},
	}
	for range 2 {
		b.must(dry(full))
	}
	bad := ev("bad \xff", 21)
	if err := dry(store.Commit{Events: []event.Stored{ev("dry", 20), bad}}); !errors.Is(err, store.ErrRefused) {
		b.t.Errorf("a dry run with an event that is refused: %v", err)
	}
	from := at
	from.Revision++
	if _, err := b.Commit(b.ctx, &store.Commit{From: from, To: from, DryRun: true}); !errors.Is(err, store.ErrFenced) {
		b.t.Errorf("a dry run from another offset: %v, want ErrFenced", err)
	}
	for range 2 {
		b.same("events", ids(b.page(acme, store.Page{})), before)
		b.same("partition", b.partition(0), store.PartitionState{Offset: at})
		b.same("transitions", len(b.transitions(0)), 0)
		b.restart()
	}
	full.Events[0].Seq = at.Seq + 1
	b.commit(full)
	b.same("events", len(b.page(acme, store.Page{})), len(before)+1)
}

func aRefusedCommitWritesNothing(_ *testing.T, b *bench) {
	b.commit(everything(1))
	before := b.counts()
	refused := everything(2)
	refused.Events[0].Seq = 2
	b.fenced(refused)
	b.same("after a fenced commit", b.counts(), before)

	refused.From, refused.To = b.offsets[0], store.Offset{Incarnation: "one", Seq: 2}
	refused.Rollups[0].Step = 7 * time.Second // there is no such resolution
	if _, err := b.Commit(b.ctx, &refused); err == nil {
		b.t.Error("a commit with rollups of seven seconds was taken")
	}
	b.same("after a failed commit", b.counts(), before)
	b.commit(everything(2))
	b.same("after the next commit", b.counts(), "2 events, 2 identities, 2 rollups, 2 fills, 2 states, 2 transitions, 2 incidents, at 2")
}

func commitsSurviveARestart(_ *testing.T, b *bench) {
	for i := range 5 {
		b.commit(everything(i))
	}
	before := b.counts()
	state := b.partition(0)
	b.restart()
	b.same("after a restart", b.counts(), before)
	b.same("state after a restart", b.partition(0), state)
	b.commit(everything(5))
	b.restart()
	b.same("after another restart", b.counts(), "6 events, 6 identities, 6 rollups, 6 fills, 6 states, 6 transitions, 6 incidents, at 6")
	b.same("numbers", b.transitions(5)[0].Number, 6)
}

func anEndedContextStops(t *testing.T, b *bench) {
	b.commit(everything(1))
	ctx, cancel := context.WithCancel(b.ctx)
	cancel()
	for name, err := range everyCall(ctx, b) {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v, want context.Canceled", name, err)
		}
	}
}

func anEndedContextCommitsNothing(_ *testing.T, b *bench) {
	b.commit(everything(1))
	before := b.counts()
	ctx, cancel := context.WithCancel(b.ctx)
	cancel()
	c := everything(2)
	c.From, c.To = b.offsets[0], store.Offset{Incarnation: "one", Seq: 2}
	if _, err := b.Commit(ctx, &c); !errors.Is(err, context.Canceled) {
		b.t.Errorf("Commit: %v, want context.Canceled", err)
	}
	b.same("after the commit", b.counts(), before)
	b.commit(everything(2))
}

// everyCall calls each method once.
func everyCall(ctx context.Context, b *bench) map[string]error {
	errs := map[string]error{}
	_, errs["Partition"] = b.Partition(ctx, 0)
	_, errs["Commit"] = b.Commit(ctx, &store.Commit{From: b.offsets[0], To: b.offsets[0]})
	errs["Identities"] = b.Identities(ctx, 0, time.Time{}, func(store.Identity) error { return nil })
	_, errs["Page"] = b.Page(ctx, acme, store.Page{Limit: 1})
	_, errs["Event"] = b.Event(ctx, acme, "shop", "e1")
	errs["Scan"] = b.Scan(ctx, acme, store.Scan{}, func(*event.Stored) error { return nil })
	errs["Rollups"] = b.Rollups(ctx, acme, store.RollupQuery{Metric: 1, Step: time.Minute, From: noon(), To: noon().Add(time.Hour)},
		func(*series.Rollup) error { return nil })
	_, errs["Incidents"] = b.Incidents(ctx, acme, store.IncidentQuery{})
	_, errs["Quarantined"] = b.Quarantined(ctx, acme, store.QuarantineQuery{})
	_, errs["Transitions"] = b.Transitions(ctx, 0, 1)
	_, errs["Usage"] = b.Usage(ctx, acme, noon(), noon().Add(time.Hour))
	return errs
}

func closedIsClosed(t *testing.T, b *bench) {
	b.commit(everything(1))
	b.must(b.Close())
	for name, err := range everyCall(b.ctx, b) {
		if !errors.Is(err, store.ErrClosed) {
			t.Errorf("%s: %v, want ErrClosed", name, err)
		}
	}
}
