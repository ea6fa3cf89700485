package segment

import (
	"fmt"
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/internal/event"
)

func TestNamesThatSpreadAlikeAreToldApart(t *testing.T) {
	var tail Tail
	alike := func(i int) string { return fmt.Sprintf("com.shop%04d.order.paid", i) } // the same length and ends
	if event.Spread(alike(1)) != event.Spread(alike(2)) {
		t.Fatal("the names do not spread alike")
	}
	ev := event.Stored{Tenant: "t"}
	ev.Time, ev.Received = time.Unix(1, 0), time.Unix(2, 0)
	const n = 100
	for i := range 3 * n {
		ev.Type, ev.Source, ev.Seq = alike(i%n), alike(i%7), uint64(i)
		tail.Add(&ev)
	}
	v, _ := tail.View("t")
	i := 0
	v.each(func(r *row) {
		if got := v.event(r); got.Type != alike(i%n) || got.Source != alike(i%7) {
			t.Errorf("event %d is of type %s and source %s", i, got.Type, got.Source)
		}
		i++
	})
	if i != 3*n || len(v.names) != n {
		t.Errorf("%d events with %d names, want %d with %d", i, len(v.names), 3*n, n)
	}
}
