package query

import (
	"slices"
	"time"

	"github.com/pulsestream/pulsestream/internal/series"
)

// segment is a part of a query's range and what it is read from.
type segment struct {
	resolution time.Duration // of rollups; 0 for raw events
	from, to   time.Time     // aligned to the resolution
}

// plan cuts a range into segments, each read from the coarsest rollups that neither reach beyond the range nor cross the edge of
// a step. What is left at the ends, less than a minute, is read from raw events; so is everything when no rollup divides
// the step. A step of 0 means that only the range as a whole matters.
func plan(from, to time.Time, step time.Duration) []segment {
	var usable []time.Duration // coarsest first
	for _, r := range slices.Backward(series.Resolutions()) {
		if step%r == 0 {
			usable = append(usable, r)
		}
	}
	return appendPlan(nil, from, to, usable)
}

func appendPlan(out []segment, from, to time.Time, usable []time.Duration) []segment {
	if !from.Before(to) {
		return out
	}
	if len(usable) == 0 {
		return append(out, segment{0, from, to})
	}
	r, finer := usable[0], usable[1:]
	start, end := alignUp(from, r), series.Align(to, r)
	if !start.Before(end) {
		return appendPlan(out, from, to, finer)
	}
	out = appendPlan(out, from, start, finer)
	out = append(out, segment{r, start, end})
	return appendPlan(out, end, to, finer)
}

// alignUp is the first multiple of d at or after t.
func alignUp(t time.Time, d time.Duration) time.Time {
	a := series.Align(t, d)
	if a.Before(t) {
		a = a.Add(d)
	}
	return a
}
