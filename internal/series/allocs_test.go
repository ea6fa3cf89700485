package series

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"unsafe"

	"github.com/axiomhq/hyperloglog"
)

func TestAllocationsOfAnAggregateThatIsUsedAgain(t *testing.T) {
	all := observations(rand.New(rand.NewPCG(1, 1)), 60)
	var a Agg
	use := func() {
		for i := range all {
			a.Add(all[i])
		}
		a.Reset()
	}
	use()
	if n := testing.AllocsPerRun(100, use); n != 0 {
		t.Errorf("%v allocations for 60 observations", n)
	}
}

func TestAllocationsOfAnAggregateOfEqualValues(t *testing.T) {
	o := observations(rand.New(rand.NewPCG(1, 1)), 1)[0]
	o.Value, o.Numeric, o.Distinct, o.HasDistinct = 5, true, 7, true
	n := testing.AllocsPerRun(100, func() {
		var a, b Agg
		a.Add(o)
		a.Add(o)
		b.Merge(&a)
		if v, ok := b.Quantile(0.5); b.Unique() != 1 || !ok || v != 5 {
			t.Fatal(b.Unique(), v)
		}
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
	if size := unsafe.Sizeof(Agg{}); size > 80 {
		t.Errorf("an aggregate takes %d bytes", size)
	}
}

// The sketch of distinct values must be the library's, of which there are stored ones: the same estimates, and each reads the other's.
func TestTheSketchOfDistinctValuesIsTheLibrarys(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 2))
	for _, n := range []int{0, 1, 65, 300, 2_000, 5_000, 5_600, 6_000, 20_000, 200_000} {
		ours, parts, theirs := &logLog{}, []*logLog{{}, {}, {}}, hyperloglog.New14()
		for range n {
			h := r.Uint64()
			if r.IntN(20) == 0 {
				h &^= 0x7ff << 39 // what a sparse key says in another way
			}
			ours.add(h)
			parts[r.IntN(3)].add(h)
			theirs.InsertHash(h)
		}
		merged := parts[0].clone()
		merged.merge(parts[1])
		merged.merge(parts[2])
		bytes, err := theirs.MarshalBinary()
		if err != nil {
			t.Fatal(err)
		}
		read, err := decodeLogLog(bytes)
		if err != nil {
			t.Fatal(err)
		}
		var back hyperloglog.Sketch
		if err := back.UnmarshalBinary(ours.append(nil)); err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(ours.estimate(), merged.estimate(), read.estimate(), back.Estimate()); got != fmt.Sprint(theirs.Estimate(), theirs.Estimate(), theirs.Estimate(), theirs.Estimate()) {
			t.Errorf("%d distinct: ours, merged, read and read back are %s, the library's %d", n, got, theirs.Estimate())
		}
		if len(ours.append(nil)) != ours.size() {
			t.Errorf("%d distinct: %d bytes, foretold were %d", n, len(ours.append(nil)), ours.size())
		}
	}
}
