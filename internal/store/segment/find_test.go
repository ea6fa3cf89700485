package segment

import (
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/internal/event"
)

// TestWhoeverLooksThroughManySegmentsTheFirstOneReceivedIsFound: hundreds of segments are shared out, and each part may find one.
func TestWhoeverLooksThroughManySegmentsTheFirstOneReceivedIsFound(t *testing.T) {
	begin := time.Date(2026, 11, 30, 0, 0, 0, 0, time.UTC)
	of := func(n int) *Segment {
		ev := event.Stored{Tenant: "big", Position: event.Position{Seq: uint64(n)}, Event: event.Event{ID: "a", Source: "s", Type: "t", Time: begin, Received: begin.Add(time.Duration(n) * time.Second)}}
		return sealed(t, NewBuilder(), tailOf([]event.Stored{ev}))
	}
	early, middle, late := of(1), of(2), of(3)
	var r Reader
	for _, at := range [][2]int{{0, 299}, {299, 0}, {150, 10}, {149, 151}} {
		all := make([]*Segment, 300)
		for i := range all {
			all[i] = late
		}
		all[at[0]], all[at[1]] = early, middle
		ev, found, err := r.Find(t.Context(), &Set{Segments: all}, "big", "s", "a")
		if err != nil || !found || ev.Seq != 1 {
			t.Errorf("early at %d, later at %d: found %v, number %d, %v", at[0], at[1], found, ev.Seq, err)
		}
		if _, found, err := r.Find(t.Context(), &Set{Segments: all}, "big", "s", "b"); err != nil || found {
			t.Errorf("found %v, %v, which there is not", found, err)
		}
	}
}
