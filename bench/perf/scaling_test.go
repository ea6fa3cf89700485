//go:build linux

package perf

import (
	"math"
	"testing"
)

func TestThingsAreComparedWithinTheirRounds(t *testing.T) {
	for _, c := range []struct {
		what string
		r    rounds
		want float64
	}{
		{"a machine that is half as fast in one round is no difference between things", rounds{{100, 200, 100}, {100, 200, 100}}, 1},
		{"nor is a round in which it changed its speed", rounds{{100, 200, 100, 100, 100}, {100, 100, 100, 100, 100}}, 1},
		{"a thing that is always slower by a tenth is", rounds{{90, 180, 270}, {100, 200, 300}}, 0.9},
		{"of several, the two that are furthest apart count", rounds{{90, 90, 90}, {95, 95, 95}, {120, 120, 120}}, 0.75},
	} {
		if got := c.r.leastOfMost(); math.Abs(got-c.want) > 1e-9 {
			t.Errorf("%s: got %v, want %v", c.what, got, c.want)
		}
	}
}
