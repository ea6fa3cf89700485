package series

import (
	"math/rand/v2"
	"slices"
	"testing"
)

func TestKeysAreSortedHoweverManyThereAre(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 12))
	for _, n := range []int{0, 1, fewKeys - 1, fewKeys, 300, manyKeys, manyKeys + 1} {
		for _, mask := range []uint32{0, 0xff, 0xff00ff00, 0xffffffff} {
			keys := make([]uint32, n)
			for i := range keys {
				keys[i] = r.Uint32() & mask
			}
			want := slices.Clone(keys)
			slices.Sort(want)
			if sortKeys(keys); !slices.Equal(keys, want) {
				t.Errorf("%d keys of mask %x are not sorted", n, mask)
			}
		}
	}
}

func BenchmarkSortKeys(b *testing.B) {
	r := rand.New(rand.NewPCG(11, 12))
	for name, sort := range map[string]func([]uint32){"bytes": sortKeys, "compared": slices.Sort[[]uint32]} {
		for _, n := range []int{100, 300, 1000} {
			b.Run(name, func(b *testing.B) {
				all, keys := make([]uint32, n), make([]uint32, n)
				for i := range all {
					all[i] = r.Uint32()
				}
				for b.Loop() {
					for range 1000 {
						copy(keys, all)
						i := r.IntN(n)
						all[i] = r.Uint32()
						sort(keys)
					}
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(1000*n), "ns/key")
			})
		}
	}
}
