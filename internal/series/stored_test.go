package series

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

// restored is an aggregate made of the stored numbers and sketches of another one.
func restored(t *testing.T, a *Agg, into *Agg) *Agg {
	t.Helper()
	q := a.AppendQuantiles(nil)
	keys, many := a.DistinctKeys(nil)
	into.Reset()
	into.Count, into.Values, into.Sum, into.Min, into.Max, into.Last, into.LastAt = a.Count, a.Values, a.Sum, a.Min, a.Max, a.Last, a.LastAt
	if err := into.SetQuantiles(q); err != nil {
		t.Fatal(err)
	}
	if err := into.AddDistinctKeys(keys); err != nil {
		t.Fatal(err)
	}
	if many != nil {
		if err := into.AddManyDistinct(many); err != nil {
			t.Fatal(err)
		}
	}
	return into
}

// told is all that the sketches of an aggregate tell: their stored form, and what is made of the distinct values. Hashes and keys of them tell the same.
func told(a *Agg) string {
	c := a.Clone()
	keys, many := c.DistinctKeys(nil)
	return fmt.Sprintf("%d %d %x %x", c.Unique(), keys, many, c.AppendQuantiles(nil))
}

func TestSketchesComeBackFromTheirStoredForm(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var into Agg // its memory is used again
	for round := range 20_000 {
		var a Agg
		values := []float64{0, 1, 1.004, 12.5, -3, math.MaxFloat64, 0x1p-1060, r.Float64() * 1000, r.ExpFloat64(), float64(r.IntN(100))}
		for range 1 + r.IntN(1+round%40) {
			o := Observation{At: time.Unix(int64(r.IntN(60)), 0)}
			if r.IntN(8) > 0 {
				o.Value, o.Numeric = values[r.IntN(1+r.IntN(len(values)))], true
				if round%2 == 0 {
					o.Value = math.Abs(o.Value)
				}
			}
			if r.IntN(3) == 0 {
				o.Distinct, o.HasDistinct = r.Uint64N(100+100_000*uint64(round%2))*0x9e3779b97f4a7c15, true
			}
			a.Add(o)
		}
		b := restored(t, &a, &into)
		if x, y := told(&a), told(b); x != y {
			t.Fatalf("round %d: %s has become %s", round, x, y)
		}
		var sum, other Agg
		sum.Merge(&a)
		sum.Merge(&a)
		other.Merge(b)
		other.Merge(&a)
		if x, y := told(&sum), told(&other); x != y {
			t.Fatalf("round %d: merged, %s has become %s", round, x, y)
		}
	}
}

func TestSketchesThatFollowFromTheNumbersTakeNoBytes(t *testing.T) {
	for _, values := range [][]float64{{}, {5}, {5, 5, 5}, {5, 7}, {-5, 7}, {0, 0}, {0, 3}, {5, 5, 9}} {
		var a Agg
		for _, v := range values {
			a.Add(Observation{At: time.Unix(1, 0), Value: v, Numeric: true})
		}
		if b := a.AppendQuantiles(nil); len(b) > 0 {
			t.Errorf("%v takes % x", values, b)
		}
	}
	var a Agg
	for i := range 20 {
		a.Add(Observation{At: time.Unix(1, 0), Value: 100 + 3*float64(i), Numeric: true})
	}
	if n, was := len(a.AppendQuantiles(nil)), len(a.sk.quant.append(nil)); n > was/2+1 {
		t.Errorf("20 values take %d bytes, %d before", n, was)
	}
}

func TestManyDistinctValuesComeBackAsTheyWere(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for _, n := range []int{1, 63, 64, 65, 300, 5000, 30_000} {
		var a, more Agg
		for range n {
			a.Add(Observation{At: time.Unix(1, 0), Distinct: r.Uint64(), HasDistinct: true})
			more.Add(Observation{At: time.Unix(1, 0), Distinct: r.Uint64(), HasDistinct: true})
		}
		b := restored(t, &a, &Agg{})
		if told(&a) != told(b) {
			t.Errorf("%d distinct values have become others", n)
		}
		a.Merge(&more)
		b.Merge(&more)
		if told(&a) != told(b) {
			t.Errorf("merged with as many more, %d distinct values have become others", n)
		}
	}
}

func TestScalarsHaveNoSketchAfterwards(t *testing.T) {
	var a Agg
	for i := range 3 {
		a.Add(Observation{At: time.Unix(1, 0), Value: float64(i), Numeric: true, Distinct: uint64(i), HasDistinct: true})
	}
	s := a.Scalars()
	b := restored(t, &s, &Agg{})
	if _, ok := b.Quantile(0.5); ok || b.Unique() != 0 {
		t.Error("there are sketches that nobody stored")
	}
}

func FuzzStoredSketchesAreReadOrRefused(f *testing.F) {
	f.Add(uint64(3), 1.0, 9.0, []byte{storedInside, 2}, uint32(7), uint32(8), []byte{})
	f.Add(uint64(30), 1.0, 9.0, []byte{storedInside, 3, 7, 200, 1}, uint32(1), uint32(0xffffffff), []byte{2, 14, 0, 1})
	f.Add(uint64(0), 0.0, 0.0, []byte{storedFull, 1, 0, 0}, uint32(2), uint32(3), []byte{1})
	f.Fuzz(func(t *testing.T, values uint64, low, high float64, quant []byte, key, other uint32, many []byte) {
		a := Agg{Count: values, Values: values, Min: low, Max: high}
		if values > 0 && !(low <= high && low >= -math.MaxFloat64 && high <= math.MaxFloat64) { // whoever reads numbers looks at them
			return
		}
		if a.SetQuantiles(quant) != nil || a.AddDistinctKeys([]uint32{key, other}) != nil || a.AddManyDistinct(many) != nil {
			return
		}
		a.Unique()
		a.Quantile(0.5)
		if x, y := told(&a), told(restored(t, &a, &Agg{})); x != y {
			t.Fatalf("%s has become %s", x, y)
		}
	})
}
