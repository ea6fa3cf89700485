package live

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/internal/series"
)

// delta is n observations of one second of a series.
func delta(dice *rand.Rand, label string, second int64, n int) *series.Delta {
	d := &series.Delta{Labels: series.Labels{label}, Second: second}
	for range n {
		o := series.Observation{At: time.Unix(second, dice.Int64N(1e9))}
		if dice.IntN(3) > 0 {
			o.Numeric, o.Value = true, float64(dice.IntN(100))
		}
		if dice.IntN(3) > 0 {
			o.HasDistinct, o.Distinct = true, dice.Uint64()
		}
		d.Agg.Add(o)
	}
	return d
}

func TestMemoryHoldsWhatEachSecondOfEachSeriesHasSeen(t *testing.T) {
	dice := rand.New(rand.NewPCG(1, 2))
	type place struct {
		label  string
		second int64
	}
	m, want := newMemory(), map[place]*series.Agg{}
	for i := range 20_000 {
		second := int64(1000 + i/2000)
		if dice.IntN(4) == 0 { // late, so that series are seen in other seconds in between
			second -= dice.Int64N(8)
		}
		d := delta(dice, fmt.Sprint(dice.IntN(150)), second, 1+dice.IntN(2))
		m.add(d, 0)
		p := place{d.Labels[0], second}
		if want[p] == nil {
			want[p] = &series.Agg{}
		}
		want[p].Merge(&d.Agg)
	}
	got, cells := map[place]*series.Agg{}, 0
	m.since(0, func(labels series.Labels, second int64, agg *series.Agg) {
		p := place{labels[0], second}
		if got[p] == nil {
			got[p] = &series.Agg{}
		}
		got[p].Merge(agg)
		cells++
	})
	if len(got) != len(want) {
		t.Fatalf("%d seconds of series are held, want %d", len(got), len(want))
	}
	if cells > 2*len(want)+minCells*len(m.seconds) {
		t.Errorf("%d cells hold %d seconds of series", cells, len(want))
	}
	for p, w := range want {
		g := got[p]
		if g.Count != w.Count || g.Values != w.Values || g.Sum != w.Sum || g.Last != w.Last || g.LastAt != w.LastAt || string(g.Sketches()) != string(w.Sketches()) {
			t.Fatalf("%+v: got %+v, want %+v", p, g, w)
		}
	}
	shown := 0
	m.since(1009, func(_ series.Labels, second int64, _ *series.Agg) {
		if shown++; second < 1009 {
			t.Errorf("second %d was shown, though only those from 1009 on were asked for", second)
		}
	})
	if shown == 0 {
		t.Error("the last second is not shown")
	}
}

func TestMemoryForgetsSecondsThatAreTooOld(t *testing.T) {
	dice := rand.New(rand.NewPCG(1, 2))
	m := newMemory()
	for second := range int64(100) {
		d := delta(dice, "a", 1000+second, 1)
		m.add(d, 1000+second-20)
	}
	if n := len(m.seconds); n < 20 || n > 32 {
		t.Errorf("%d seconds are held, want 20 and up to 12 that are about to be forgotten", n)
	}
}

func TestWhatTricklesIntoASecondThatIsOverIsMergedInTime(t *testing.T) {
	dice := rand.New(rand.NewPCG(1, 2))
	const many, late, ticks = 20, 10, 300
	m, sent := newMemory(), uint64(0)
	add := func(second int64, label int) {
		d := delta(dice, fmt.Sprint(label), second, 2)
		m.add(d, 0)
		if second == 1000 {
			sent += d.Agg.Count
		}
	}
	for i := range many {
		add(1000, i)
	}
	for tick := range int64(ticks) {
		add(1010+tick, 0) // packs what is before
		for range late {
			add(1000, dice.IntN(many))
		}
	}
	if n := len(m.seconds[1000].cells); n > 4*many+2*minCells {
		t.Errorf("a second of %d series has %d cells after %d late events", many, n, late*ticks)
	}
	var held uint64
	m.since(0, func(_ series.Labels, second int64, agg *series.Agg) {
		if second == 1000 {
			held += agg.Count
		}
	})
	if held != sent {
		t.Errorf("%d events are held, %d were added", held, sent)
	}
}

func TestAPlaceIsBelievedOnlyForTheSeriesAndTheMemoryThatItIsOf(t *testing.T) {
	m, other := newMemory(), newMemory()
	delta := func(place *uint32, labels ...string) *series.Delta {
		d := &series.Delta{Labels: labels, Second: 1000, Place: place}
		d.Agg.Add(series.Observation{At: time.Unix(1000, 0)})
		return d
	}
	var a, b uint32
	inA, inB, equal := delta(&a, "a"), delta(&b, "b"), delta(nil, "b")
	for range 3 {
		for _, d := range []*series.Delta{inA, inB, equal, inA, inB, inA, equal} {
			m.add(d, 0)
		}
		for range 2 {
			other.add(inB, 0) // where b is the first
			other.add(inB, 0)
			other.add(inA, 0)
		}
	}
	for held, want := range map[*memory]map[string]uint64{m: {"a": 9, "b": 12}, other: {"a": 6, "b": 12}} {
		got := map[string]uint64{}
		held.since(0, func(labels series.Labels, _ int64, agg *series.Agg) { got[labels[0]] += agg.Count })
		if !maps.Equal(got, want) {
			t.Errorf("held are %v, want %v", got, want)
		}
	}
}

// BenchmarkMemoryOfManySeries holds a minute of 4 000 series of which 800 have an event each second.
func BenchmarkMemoryOfManySeries(b *testing.B) {
	const all, each, span = 4000, 800, 60
	dice := rand.New(rand.NewPCG(1, 2))
	var deltas []*series.Delta
	for i := range each * span {
		d := &series.Delta{Labels: series.Labels{fmt.Sprint("series-", dice.IntN(all))}, Second: int64(i / each)}
		d.Agg.Add(series.Observation{At: time.Unix(d.Second, 0), HasDistinct: true, Distinct: dice.Uint64()})
		deltas = append(deltas, d)
	}
	holdMemory(b, deltas, len(deltas))
}

// BenchmarkMemoryOfManyEvents holds a minute of 20 series, which have 50 events a second each, with a number and a name in it.
func BenchmarkMemoryOfManyEvents(b *testing.B) {
	const all, each, span = 20, 50, 60
	dice := rand.New(rand.NewPCG(1, 2))
	var deltas []*series.Delta
	for i := range all * span * 10 { // in ten parts
		d := &series.Delta{Labels: series.Labels{fmt.Sprint("series-", i%all)}, Second: int64(i / all / 10)}
		for range each / 10 {
			d.Agg.Add(series.Observation{At: time.Unix(d.Second, 0), Numeric: true, Value: dice.ExpFloat64(), HasDistinct: true, Distinct: dice.Uint64()})
		}
		deltas = append(deltas, d)
	}
	holdMemory(b, deltas, all*each*span)
}

// holdMemory says how much memory holds deltas of so many events.
func holdMemory(b *testing.B, deltas []*series.Delta, events int) {
	b.Helper()
	var before, after runtime.MemStats
	b.ReportAllocs()
	for b.Loop() {
		runtime.GC()
		runtime.ReadMemStats(&before)
		m := newMemory()
		for _, d := range deltas {
			m.add(d, 0)
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		runtime.KeepAlive(m)
	}
	b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/float64(events), "B/event")
}
