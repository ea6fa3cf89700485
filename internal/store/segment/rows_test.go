package segment

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/pulsestream/pulsestream/internal/event"
	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

// held is a copy of an event, for after its batch.
func held(ev *event.Stored) event.Stored {
	c := *ev
	c.ID, c.Source, c.Type, c.Subject = strings.Clone(c.ID), strings.Clone(c.Source), strings.Clone(c.Type), strings.Clone(c.Subject)
	c.Data, c.Extensions = bytes.Clone(c.Data), bytes.Clone(c.Extensions)
	return c
}

// unordered puts events into an order in which two sets of the same are equal.
func unordered(all []event.Stored) []event.Stored {
	slices.SortFunc(all, func(x, y event.Stored) int {
		return cmp.Or(cmp.Compare(x.Seq, y.Seq), cmp.Compare(x.Index, y.Index), cmp.Compare(x.ID, y.ID), x.Time.Compare(y.Time), cmp.Compare(x.Type, y.Type))
	})
	return all
}

func (k *kept) checkRows(r *Reader, g *generator, t tenant.ID) {
	k.t.Helper()
	f := g.filter()
	var got []event.Stored
	last := 0.0
	err := r.Rows(k.t.Context(), k.set(t), t, f, func(events []event.Stored, done float64, release func()) error {
		defer release()
		if len(events) == 0 || done < last || done > 1 {
			k.t.Fatalf("%d events at %g, behind %g", len(events), done, last)
		}
		last = done
		for i := range events {
			got = append(got, held(&events[i]))
		}
		return nil
	})
	if err != nil {
		k.t.Fatalf("%+v: %v", f, err)
	}
	if d := differ(unordered(got), unordered(g.made.matching(t, f))); d != "" {
		k.t.Fatalf("rows %+v of %q: %s", f, t, d)
	}
}

func TestRowsOfSegmentsComeOneSegmentAfterTheOther(t *testing.T) {
	g := newGenerator(21)
	first, second, third := g.events(2000), g.events(2000), g.events(2000)
	for i, part := range []oracle{first, second, third} {
		for k := range part {
			part[k].Tenant, part[k].Seq = "big", uint64(1+i)
		}
	}
	b := NewBuilder()
	k := kept{t: t, segments: []*Segment{sealed(t, b, tailOf(second)), sealed(t, b, tailOf(first))}, tails: []*Tail{tailOf(third)}}
	var r Reader
	last, n := uint64(0), 0
	err := r.Rows(t.Context(), k.set("big"), "big", store.EventFilter{}, func(events []event.Stored, _ float64, release func()) error {
		defer release()
		n += len(events)
		for i := range events {
			if events[i].Seq < last {
				t.Fatalf("%d behind %d", events[i].Seq, last)
			}
			last = events[i].Seq
		}
		return nil
	})
	if err != nil || n != 6000 {
		t.Error(n, err)
	}
}

func TestRowsEndWithTheirCallbackAndTheirContext(t *testing.T) {
	g := newGenerator(7)
	var parts []*Tail
	k := kept{t: t}
	for range 4 {
		parts = append(parts, tailOf(g.events(3000)))
		k.segments = append(k.segments, sealed(t, NewBuilder(), parts[len(parts)-1]))
	}
	for _, k := range []kept{k, {t: t, tails: parts}} {
		var r Reader
		mine := errors.New("mine")
		calls := 0
		if err := r.Rows(t.Context(), k.set("big"), "big", store.EventFilter{}, func(_ []event.Stored, _ float64, release func()) error { release(); calls++; return mine }); err != mine || calls != 1 { //nolint:errorlint // as it is
			t.Errorf("%v after %d calls", err, calls)
		}
		ctx, cancel := context.WithCancel(t.Context())
		if err := r.Rows(ctx, k.set("big"), "big", store.EventFilter{}, func(_ []event.Stored, _ float64, release func()) error { release(); cancel(); return nil }); !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled: %v", err)
		}
		k.checkRows(&r, g, "big") // with the memory of those that did not come to their end
	}
}

func TestABatchOfRowsIsTheCallersUntilItIsReleased(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGenerator(5)
		k := kept{t: t}
		for range 3 {
			k.segments = append(k.segments, sealed(t, NewBuilder(), tailOf(g.events(3000))))
		}
		k.tails = []*Tail{tailOf(g.events(3000))}
		type batch struct {
			events, copies []event.Stored
			release        func()
		}
		var r Reader
		all, ended := make(chan batch, 1000), false
		go func() {
			err := r.Rows(t.Context(), k.set("big"), "big", store.EventFilter{}, func(events []event.Stored, _ float64, release func()) error {
				b := batch{events: events, release: release}
				for i := range events {
					b.copies = append(b.copies, held(&events[i]))
				}
				all <- b
				return nil
			})
			if err != nil {
				t.Error(err)
			}
			ended = true
		}()
		batches, rows := 0, 0
		for synctest.Wait(); !ended; synctest.Wait() {
			if n := len(all); n == 0 || n > rowBatches {
				t.Fatalf("%d batches at a time of %d, after %d", n, rowBatches, batches)
			}
			b := <-all // the others are kept meanwhile
			if d := differ(b.events, b.copies); d != "" {
				t.Fatalf("while the next %d batches were read: %s", len(all), d)
			}
			batches, rows = batches+1, rows+len(b.events)
			b.release()
		}
		if want := len(g.made.matching("big", store.EventFilter{})); rows != want || batches <= rowBatches || len(all) > 0 {
			t.Errorf("%d rows in %d batches, want %d; %d were not released", rows, batches, want, len(all))
		}
	})
}

// What a scan of rows costs does not depend on how many there are: all of it is for the pipeline, nothing for a block or an event.
func TestAllocationsOfRowsAreTheSameForAnyNumberOfBlocks(t *testing.T) {
	all := vendors(120_000)
	for i := range all {
		all[i].Tenant = "one"
	}
	b := NewBuilder()
	x := newRowScan()
	count := func(n int) (allocations float64, blocks int) {
		set := &Set{Segments: []*Segment{sealed(t, b, tailOf(all[:n]))}}
		scan := func() {
			rows := 0
			err := x.run(t.Context(), set, "one", newMatch(store.EventFilter{}), func(events []event.Stored, _ float64, release func()) error {
				rows += len(events)
				release()
				return nil
			})
			if err != nil || rows != n {
				t.Fatal(rows, err)
			}
		}
		for range 4 {
			scan() // each of the batches meets the largest block
		}
		return testing.AllocsPerRun(3, scan), len(set.Segments[0].tenant("one").blocks)
	}
	count(len(all))
	few, fewBlocks := count(20_000)
	many, manyBlocks := count(len(all))
	t.Logf("%.0f allocations for %d blocks, %.0f for %d", few, fewBlocks, many, manyBlocks)
	if math.Abs(many-few) >= 1 || many > 16 {
		t.Errorf("%.0f allocations for %d blocks, %.0f for %d", few, fewBlocks, many, manyBlocks)
	}
}
