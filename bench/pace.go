package bench

import (
	"math"
	"time"
)

// pace is a plan of things that happen rate times a second. Each has its time from the start on, so that delays do not add up and
// a slow answer does not thin the load out.
type pace struct {
	start time.Time
	rate  float64
}

// due is when the n-th thing, counted from 0, is to happen.
func (p pace) due(n int) time.Time {
	return p.start.Add(time.Duration(math.Round(float64(n) / p.rate * float64(time.Second))))
}

// batches cuts a stream of events into requests of 10 to 50 events, 30 on average, always in the same way.
type batches struct {
	pace   pace
	events int // in the batches so far
	n      int
}

var batchSizes = [...]int{10, 50, 20, 40, 30}

// next returns the size of the next batch, and when it is due: as its last event has happened.
func (b *batches) next() (size int, due time.Time) {
	size = batchSizes[b.n%len(batchSizes)]
	b.n++
	b.events += size
	return size, b.pace.due(b.events - 1)
}
