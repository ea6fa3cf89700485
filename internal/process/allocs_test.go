package process

import (
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
	sums := map[time.Duration]uint64{}
	uniques := map[time.Duration]bool{}
	for _, u := range r.take() {
		if !u.Start.Equal(series.Align(u.Start, u.Step)) {
			t.Errorf("a step of %s begins at %s", u.Step, u.Start)
		}
		sums[u.Step] += u.Agg.Count
		uniques[u.Step] = uniques[u.Step] || u.Agg.Unique() > 0
	}
	if res := time.Minute; sums[res] > 0 {
		if sums[res] != 4*600 || !uniques[res] {
			t.Errorf("rollups of %s count %d of %d", res, sums[res], 4*600)
		}
	}
}
