package limit_test

import (
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/internal/limit"
	"github.com/pulsestream/pulsestream/internal/limit/limittest"
)

func TestTheProcessesOwnMeter(t *testing.T) {
	limittest.Run(t, func(_ *testing.T, now func() time.Time) limit.Meter { return limit.NewLocal(now) })
}

func newRate() (*limit.Rate, *limittest.Clock) {
	clock := limittest.NewClock()
	return limit.NewRate(limit.NewLocal(clock.Now)), clock
}

func TestARateIsHeldOnAverage(t *testing.T) {
	r, clock := newRate()
	const perSecond, events, bytes = 1000, 100, 20_000
	sent := 0
	for range 10_000 { // ten seconds, a request each millisecond: a hundred times too much
		if d := r.Take("t", perSecond, bytes); d.Allowed {
			sent += events
			r.Count("t", d, events, bytes)
		} else if d.Retry <= 0 || d.Limit != perSecond {
			t.Fatalf("%+v", d)
		}
		clock.Step(time.Millisecond)
	}
	if sent < 10_000 || sent > 11_200 { // a second's worth at once, and 1000 a second
		t.Errorf("%d events in ten seconds, the limit is 1000 a second", sent)
	}
}

func TestManyRequestsAtOnceAreNotAllLetInBeforeTheFirstIsCounted(t *testing.T) {
	r, _ := newRate()
	r.Count("t", r.Take("t", 1000, 20_000), 100, 20_000) // 200 bytes an event
	in := 0
	for range 500 {
		if r.Take("t", 1000, 20_000).Allowed {
			in++
		}
	}
	if in != 9 {
		t.Errorf("%d requests of 100 events are under way, the bucket has 900", in)
	}
}

func TestARequestThatBringsNothingCostsNothing(t *testing.T) {
	r, _ := newRate()
	for range 100 {
		d := r.Take("t", 10, 1000)
		if !d.Allowed {
			t.Fatal("refused")
		}
		r.Count("t", d, 0, 1000)
	}
	if d := r.Take("t", 0, 1000); !d.Allowed || d.Limit != 0 {
		t.Errorf("without a limit: %+v", d)
	}
}
