package series

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// observations makes n of them, as events of different metrics would: some with a number, some with a distinct hash.
func observations(r *rand.Rand, n int) []Observation {
	out := make([]Observation, n)
	for i := range out {
		o := Observation{At: time.Unix(1_700_000_000+r.Int64N(5), 0)}
		if r.IntN(4) > 0 {
			// Quarters add up without rounding, so sums can be compared exactly.
			o.Value, o.Numeric = float64(r.IntN(40_000)-10_000)/4, true
		}
		if r.IntN(4) > 0 {
			o.Distinct, o.HasDistinct = mix(r.Uint64N(300)), true
		}
		out[i] = o
	}
	return out
}

func aggregate(os []Observation) *Agg {
	a := &Agg{}
	for _, o := range os {
		a.Add(o)
	}
	return a
}

// facts is all that can be read from an aggregate.
func facts(a *Agg) string {
	s := fmt.Sprint(a.Count, a.Values, a.Sum, a.Min, a.Max, a.Last, a.LastAt)
	for _, k := range Kinds() {
		v, ok := a.Value(k, time.Minute)
		s += fmt.Sprint(" ", k, v, ok)
	}
	for q := 0.0; q <= 1; q += 0.05 {
		v, ok := a.Quantile(q)
		s += fmt.Sprint(" ", v, ok)
	}
	return s
}

// mergeTree merges parts in a random order and with random brackets.
func mergeTree(r *rand.Rand, parts []*Agg) *Agg {
	parts = slices.Clone(parts)
	for len(parts) > 1 {
		i := r.IntN(len(parts))
		a := parts[i].Clone()
		parts = slices.Delete(parts, i, i+1)
		j := r.IntN(len(parts))
		a.Merge(parts[j])
		parts[j] = a
	}
	return parts[0]
}

func TestMergingInAnyOrderEqualsAddingOneByOne(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for round := range 300 {
		all := observations(r, 1+r.IntN(400))
		want := facts(aggregate(all))
		var parts []*Agg
		for rest := all; len(rest) > 0; {
			n := 1 + r.IntN(len(rest))
			parts = append(parts, aggregate(rest[:n]))
			rest = rest[n:]
		}
		parts = append(parts, &Agg{})
		if got := facts(mergeTree(r, parts)); got != want {
			t.Fatalf("round %d: merged\n%s\none by one\n%s", round, got, want)
		}
	}
}

func TestMergeDoesNotTouchOrShareItsArgument(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for _, n := range []int{1, 30, 1000} {
		b := aggregate(observations(r, n))
		before := facts(b)
		var a Agg
		a.Merge(b)
		for _, o := range observations(r, 2000) {
			a.Add(o)
		}
		if facts(b) != before {
			t.Errorf("adding to an aggregate changed one of %d observations that was merged into it", n)
		}
	}
}

func TestUniqueIsExactWhileSmallAndNearAfterwards(t *testing.T) {
	for _, n := range []int{0, 1, 2, 63, 64, 65, 66, 500, 5_000, 100_000} {
		var a Agg
		for range 2 {
			for i := range n {
				a.Add(Observation{Distinct: mix(uint64(i)), HasDistinct: true})
			}
		}
		off := math.Abs(float64(a.Unique()) - float64(n))
		if bound := 0.0; n <= 66 && off > bound || n > 66 && off > 0.03*float64(n) {
			t.Errorf("%d distinct values counted as %d", n, a.Unique())
		}
	}
}

func TestUniqueDoesNotDependOnHowPartsWereCut(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for _, n := range []int{40, 64, 65, 130, 3_000, 60_000} {
		var whole Agg
		parts := make([]*Agg, 1+r.IntN(50))
		for i := range parts {
			parts[i] = &Agg{}
		}
		for i := range n {
			o := Observation{Distinct: mix(uint64(i)), HasDistinct: true}
			whole.Add(o)
			parts[r.IntN(len(parts))].Add(o)
			parts[r.IntN(len(parts))].Add(o)
		}
		if got := mergeTree(r, parts).Unique(); got != whole.Unique() {
			t.Errorf("%d distinct values: %d in one piece, %d merged from %d", n, whole.Unique(), got, len(parts))
		}
	}
}

func TestLastIsTheNewestAndOfTwoAtOnceTheLarger(t *testing.T) {
	at := time.Unix(100, 0)
	in := []Observation{{At: at, Value: 3, Numeric: true}, {At: at.Add(time.Second), Value: 1, Numeric: true}, {At: at.Add(time.Second), Value: 2, Numeric: true}}
	for range 20 {
		rand.Shuffle(len(in), func(i, j int) { in[i], in[j] = in[j], in[i] })
		if a := aggregate(in); a.Last != 2 {
			t.Fatalf("last is %v, want 2", a.Last)
		}
	}
	before := aggregate([]Observation{{At: time.Unix(-100, 0), Value: 7, Numeric: true}})
	if before.Last != 7 {
		t.Errorf("last before 1970 is %v, want 7", before.Last)
	}
}

func TestEmptyStepHasCountsButNoNumbers(t *testing.T) {
	var a Agg
	for _, k := range Kinds() {
		v, ok := a.Value(k, time.Minute)
		if want := k == Count || k == Rate || k == Unique; ok != want || v != 0 {
			t.Errorf("%s of nothing is %v, %v", k, v, ok)
		}
	}
	if a.Sketches() != nil {
		t.Error("nothing has sketches")
	}
}

func TestAnOverflowedSumIsNoValueRatherThanInfinity(t *testing.T) {
	a := aggregate([]Observation{{Value: math.MaxFloat64, Numeric: true}, {Value: math.MaxFloat64, Numeric: true}})
	for _, k := range []Kind{Sum, Avg} {
		if v, ok := a.Value(k, time.Minute); ok {
			t.Errorf("%s is %v", k, v)
		}
	}
	if v, ok := a.Value(Max, time.Minute); !ok || v != math.MaxFloat64 {
		t.Errorf("max is %v, %v", v, ok)
	}
	if v, ok := a.Quantile(0.5); !ok || v != math.MaxFloat64 {
		t.Errorf("median is %v, %v", v, ok)
	}
}

func TestSketchesRoundTrip(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	for _, n := range []int{1, 2, 64, 65, 400, 30_000} {
		a := aggregate(observations(r, n))
		if n == 30_000 {
			for i := range n {
				a.Add(Observation{Distinct: mix(uint64(i)), HasDistinct: true})
			}
		}
		b := *a
		if err := b.SetSketches(a.Sketches()); err != nil {
			t.Fatalf("%d observations: %v", n, err)
		}
		if facts(&b) != facts(a) {
			t.Errorf("%d observations came back different", n)
		}
	}
}

func TestDamagedSketchesAreRefused(t *testing.T) {
	few := aggregate([]Observation{{Distinct: 1, HasDistinct: true}, {Distinct: 2, HasDistinct: true}, {Value: 1, Numeric: true}}).Sketches()
	for name, b := range map[string][]byte{
		"length beyond the end":     {200, 1},
		"cut short":                 few[:len(few)-1],
		"text behind":               append(slices.Clone(few), 0),
		"hashes out of order":       append(append([]byte{17, 0}, bytes.Repeat([]byte{9}, 8)...), bytes.Repeat([]byte{1}, 8)...),
		"half a hash":               {5, 0, 1, 2, 3, 4},
		"sketch of other precision": {3, 2, 16, 0},
		"bucket without a count":    {0, 0, 1, 2, 0, 0},
		"bucket out of range":       {0, 0, 1, 0xfe, 0xff, 0xff, 0xff, 0x0f, 1, 0},
		"buckets out of order":      {0, 0, 2, 4, 1, 1, 1, 0},
		"more buckets than bytes":   {0, 0, 100, 2, 1, 0},
	} {
		var a Agg
		if err := a.SetSketches(b); err == nil {
			t.Errorf("%s: taken", name)
		}
		if a.Unique() != 0 || a.sk != nil || a.form != 0 {
			t.Errorf("%s: left something behind", name)
		}
	}
}

func FuzzSketchesNeverPanic(f *testing.F) {
	r := rand.New(rand.NewPCG(9, 10))
	for _, n := range []int{0, 1, 10, 500} {
		f.Add(aggregate(observations(r, n)).Sketches())
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var a Agg
		if a.SetSketches(b) != nil {
			return
		}
		a.Count, a.Values, a.Max = 1, 1, math.MaxFloat64
		var sum Agg
		sum.Merge(&a)
		sum.Merge(aggregate(observations(r, 100)))
		_ = facts(&sum)
		var again Agg
		if err := again.SetSketches(a.Sketches()); err != nil {
			t.Fatalf("what was taken cannot be written and read again: %v", err)
		}
		if again.Unique() != a.Unique() {
			t.Fatalf("distinct count %d became %d", a.Unique(), again.Unique())
		}
	})
}
