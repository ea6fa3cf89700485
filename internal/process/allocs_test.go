package process

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/internal/bus"
	"github.com/pulsestream/pulsestream/internal/series"
)

func TestAllocationsOfAggregatingAndRollingUp(t *testing.T) {
	s := load{tenants: 2}.session(t, &taking{})
	events := load{2, 500, 2, 0}.stored(t)
	r := newRollups(s.bound)
	batch := func() {
		for range 2 {
			for i := range events[:50] { // few enough of each series to need no sketch, which is made anew each time
				if err := s.aggregate.add(&events[i], s.plan(&events[i])); err != nil {
					t.Fatal(err)
				}
			}
			r.add(s.aggregate.cells)
			s.aggregate.begin()
		}
		if len(r.take()) == 0 {
			t.Fatal("no rollups")
		}
		r.begin()
	}
	batch()
	batch()
	if n := testing.AllocsPerRun(50, batch); n != 0 {
		t.Errorf("%v allocations for 100 events", n)
	}
}

func TestAllocationsOfTellingIdentitiesApart(t *testing.T) {
	w, identities := NewWindow(24*time.Hour), newIdentifier()
	events := load{2, 500, 2, 0}.stored(t)
	add := func() {
		for i := range events {
			ev := &events[i]
			w.add(identities.identity(ev.Tenant, ev.Source, ev.ID), 1_800_000_000)
		}
	}
	if n := testing.AllocsPerRun(20, add); n != 0 {
		t.Errorf("%v allocations for 500 events", n)
	}
}

// What is left is what a message leaves behind: parts of sketches, tables that grow.
func TestAllocationsOfAMessageDoNotGrowWithItsEvents(t *testing.T) {
	l := load{3, 1000, 1, 0}
	s := l.session(t, &taking{})
	messages := l.messages(time.Now(), 3)
	seq := uint64(0)
	step := func() {
		m := &messages[seq%3]
		seq++
		m.renew(seq)
		s.message(bus.Message{Seq: seq, Payload: m.payload})
		s.commit(t.Context())
		if err := s.settle(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	for range 30 {
		step()
	}
	if n := testing.AllocsPerRun(50, step); n > 200 {
		t.Errorf("%v allocations for 1000 events", n)
	}
}

// A batch of many minutes of the same series, some of them come again and again, adds up to what was added, in steps of their own.
func TestRollupsOfManyMinutesAddUp(t *testing.T) {
	s := load{tenants: 1}.session(t, &taking{})
	events := load{1, 600, 1, 0}.stored(t)
	r := newRollups(s.bound)
	for i := range events {
		ev := &events[i]
		ev.Time = time.Unix(1_800_000_000+int64(i%50)*1800+int64(i%7), 0)
		if err := s.aggregate.add(ev, s.plan(ev)); err != nil {
			t.Fatal(err)
		}
	}
	r.add(s.aggregate.cells)
	if len(s.aggregate.cells) == 0 {
		t.Fatal("nothing was added")
	}
	sums := map[time.Duration]uint64{}
	uniques := map[time.Duration]bool{}
	for _, u := range r.take() {
		if !u.Start.Equal(series.Align(u.Start, u.Step)) {
			t.Errorf("a step of %s begins at %s", u.Step, u.Start)
		}
		sums[u.Step] += u.Agg.Count
		uniques[u.Step] = uniques[u.Step] || u.Agg.Unique() > 0
	}
	if res := time.Minute; sums[res] != 4*600 || !uniques[res] {
		t.Errorf("rollups of %s count %d of %d", res, sums[res], 4*600)
	}
}

// Cells leave what they have to minutes, whose memory they get: batch after batch, nothing of one is in another.
func TestRollupsOfManyBatchesAreThoseOfTheirEvents(t *testing.T) {
	s := load{tenants: 1}.session(t, &taking{})
	events := load{1, 600, 1, 0}.stored(t)
	both := [2]*rollups{newRollups(s.bound), newRollups(s.bound)}
	for batch := range 12 {
		r := both[batch%2] // as the worker has one that is being stored and one that is being filled
		r.begin()
		want := map[string]*series.Agg{}
		for part := range 4 {
			fresh := newAggregator(s.bound)                       // whose memory nobody has used
			for _, a := range []*aggregator{fresh, s.aggregate} { // a series knows its cell in one at a time
				for i := range 50 {
					ev := &events[(batch*200+part*50+i)%len(events)]
					ev.Time = time.Unix(1_800_000_000+int64(i*(part+1)%3*50), int64(i))
					if err := a.add(ev, s.plan(ev)); err != nil {
						t.Fatal(err)
					}
				}
			}
			for i := range fresh.cells {
				c := &fresh.cells[i]
				key := fmt.Sprint(c.of.table.metric, c.of.key, alignSeconds(c.second, 60))
				if want[key] == nil {
					want[key] = &series.Agg{}
				}
				want[key].Merge(&c.agg)
			}
			r.add(s.aggregate.cells)
			s.aggregate.begin()
		}
		for _, u := range r.take() {
			key := fmt.Sprint(u.Metric, u.Labels.Key(), u.Start.Unix())
			if w := want[key]; w == nil || !bytes.Equal(w.Append(nil), u.Agg.Append(nil)) {
				t.Fatalf("batch %d: the rollup %s is not what its events add up to", batch, key)
			}
			delete(want, key)
		}
		if len(want) > 0 {
			t.Fatalf("batch %d: %d rollups are missing", batch, len(want))
		}
	}
}
