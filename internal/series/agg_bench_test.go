package series

import (
	"fmt"
	"runtime"
	"testing"
	"time"
)

// mix spreads i over 64 bits, as the hash of a real value is.
func mix(i uint64) uint64 {
	i += 0x9e3779b97f4a7c15
	i = (i ^ i>>30) * 0xbf58476d1ce4e5b9
	i = (i ^ i>>27) * 0x94d049bb133111eb
	return i ^ i>>31
}

// BenchmarkAggregateOf is what one second of one series costs: a fresh aggregate, n observations.
func BenchmarkAggregateOf(b *testing.B) {
	at := time.Unix(1_700_000_000, 0)
	for _, n := range []int{1, 10, 64, 100, 1000, 100_000} {
		for _, kind := range []string{"distinct", "numeric"} {
			b.Run(fmt.Sprintf("%s/%d", kind, n), func(b *testing.B) {
				b.ReportAllocs()
				for range b.N {
					var a Agg
					for i := range n {
						o := Observation{At: at}
						if kind == "distinct" {
							o.Distinct, o.HasDistinct = mix(uint64(i)), true
						} else {
							o.Value, o.Numeric = float64(mix(uint64(i))%10_000), true
						}
						a.Add(o)
					}
					if a.Count == 0 {
						b.Fatal("nothing was added")
					}
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/observation")
			})
		}
	}
}

// BenchmarkHeldMemory is what ten thousand aggregates hold, n distinct observations in each.
func BenchmarkHeldMemory(b *testing.B) {
	for _, n := range []int{1, 10, 64, 100} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			for range b.N {
				const many = 10_000
				var before, after runtime.MemStats
				runtime.GC()
				runtime.ReadMemStats(&before)
				aggs := make([]Agg, many)
				for i := range aggs {
					for j := range n {
						aggs[i].Add(Observation{Distinct: mix(uint64(i*n + j)), HasDistinct: true})
					}
				}
				runtime.GC()
				runtime.ReadMemStats(&after)
				b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/many, "B/aggregate")
				runtime.KeepAlive(aggs)
			}
		})
	}
}

func BenchmarkMerge(b *testing.B) {
	for _, n := range []int{1, 64, 1000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			var one, two Agg
			for i := range n {
				one.Add(Observation{Value: float64(i), Numeric: true, Distinct: mix(uint64(i)), HasDistinct: true})
				two.Add(Observation{Value: float64(i * 3), Numeric: true, Distinct: mix(uint64(i * 3)), HasDistinct: true})
			}
			b.ReportAllocs()
			for range b.N {
				var sum Agg
				sum.Merge(&one)
				sum.Merge(&two)
			}
		})
	}
}
