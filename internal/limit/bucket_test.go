package limit

import (
	"math"
	"math/rand/v2"
	"testing"
)

// What is accepted in any stretch of time is a second's worth, what comes in by the rate, and what the last request has overdrawn. A clock
// that jumps forward lets in a second's worth at most; one that jumps back nothing.
func TestAMillionRequestsAreHeldToTheRateWhateverTheClockDoes(t *testing.T) {
	const second = 1e6 // microseconds
	for _, c := range []struct {
		name               string
		perSecond, largest float64
		gap                float64 // microseconds between requests, on average
		every              int     // requests between two jumps of the clock, on average
		jump               func(chance *rand.Rand) float64
	}{
		{"one by one", 1000, 1, 100, 0, nil},
		{"one by one, a rate that is no round number", 333.3, 1, 700, 0, nil},
		{"in batches", 10_000, 500, 5000, 0, nil},
		{"slow", 0.5, 1, 10_000, 0, nil},
		{"a clock that goes back", 1000, 1, 100, 50_000, func(chance *rand.Rand) float64 { return -chance.Float64() * 3600 * second }},
		{"a clock that goes back a little all the time", 1000, 1, 100, 1000, func(chance *rand.Rand) float64 { return -chance.Float64() * 1000 }},
		{"a clock that goes forward", 1000, 1, 100, 50_000, func(chance *rand.Rand) float64 { return chance.Float64() * 3600 * second }},
		{"a clock that goes both ways", 1000, 20, 1000, 50_000, func(chance *rand.Rand) float64 { return (2*chance.Float64() - 1) * 60 * second }},
	} {
		t.Run(c.name, func(t *testing.T) {
			chance := rand.New(rand.NewPCG(7, 11))
			const requests = 1_000_000
			var b bucket
			now := 1.7e15
			b.at = now
			passed, forward, accepted := 0.0, 0, 0.0
			for range requests {
				step := math.Floor(chance.ExpFloat64() * c.gap)
				now += step
				passed += step
				if c.jump != nil && chance.IntN(c.every) == 0 {
					j := math.Floor(c.jump(chance))
					now += j
					if j > 0 {
						forward++
					}
				}
				n := math.Ceil(chance.Float64() * c.largest)
				if b.take(now, c.perSecond, 0, n) {
					accepted += n
				}
			}
			bound := burst(c.perSecond)*float64(1+forward) + c.perSecond*passed/second
			if accepted > bound*1.01+c.largest || accepted < (c.perSecond*passed/second)*0.98 {
				t.Errorf("%.0f accepted, at most %.0f are right", accepted, bound)
			}
		})
	}
}

func TestARefusalSaysWhenToComeBack(t *testing.T) {
	for _, c := range []struct {
		name      string
		usage     Usage
		perSecond float64
		remaining int
		reset     float64
		retry     float64
	}{
		{"nothing is used", Usage{true, 1}, 100, 99, 0.01, 0},
		{"all is used", Usage{false, 100}, 100, 0, 1, 0.01},
		{"ten seconds' worth is owed", Usage{false, 1000}, 100, 0, 10, 9.01},
		{"one in ten seconds", Usage{false, 1}, 0.1, 0, 10, 10},
		{"next to nothing", Usage{false, 1e5}, 1e-9, 0, math.MaxInt64 / 2 / 1e9, math.MaxInt64 / 2 / 1e9},
	} {
		d := decision(c.usage, c.perSecond, 1)
		if d.Remaining != c.remaining || math.Abs(d.Reset.Seconds()-c.reset) > 1e-6 || math.Abs(d.Retry.Seconds()-c.retry) > 1e-6 || (d.Taken == 1) != c.usage.Allowed {
			t.Errorf("%s: %+v", c.name, d)
		}
	}
}
