package bench

import (
	"math"
	"slices"
	"time"
)

// Latency is the distribution of a time, in milliseconds.
type Latency struct {
	Count int     `json:"count"`
	P50   float64 `json:"p50_ms"`
	P90   float64 `json:"p90_ms"`
	P99   float64 `json:"p99_ms"`
	Max   float64 `json:"max_ms"`
}

// LatencyOf describes times; it sorts them.
func LatencyOf(times []time.Duration) Latency {
	slices.Sort(times)
	return Latency{Count: len(times), P50: ms(percentile(times, 50)), P90: ms(percentile(times, 90)), P99: ms(percentile(times, 99)),
		Max: ms(percentile(times, 100))}
}

// percentile is the nearest rank: the smallest of the sorted values that at least p percent do not exceed. It is always a value
// that was measured; 0 of none.
func percentile(sorted []time.Duration, p float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	rank := int(math.Ceil(p / 100 * float64(len(sorted))))
	return sorted[min(max(rank, 1), len(sorted))-1]
}

func ms(d time.Duration) float64 { return math.Round(float64(d)/float64(time.Microsecond)) / 1000 }
