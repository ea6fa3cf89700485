package limit_test

import (
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/internal/limit"
)

func TestARateIsHeldOnAverage(t *testing.T) {
	var r limit.Rate
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	const perSecond, events, bytes = 1000, 100, 20_000
	sent := 0
	for range 10_000 { // ten seconds, a request each millisecond: a hundred times too much
		if d := r.Take("t", perSecond, bytes, now); d.Allowed {
			sent += events
			r.Count("t", d, events, bytes)
		} else if d.Retry <= 0 || d.Limit != perSecond {
			t.Fatalf("%+v", d)
		}
		now = now.Add(time.Millisecond)
	}
	if sent < 10_000 || sent > 11_200 { // a second's worth at once, and 1000 a second
		t.Errorf("%d events in ten seconds, the limit is 1000 a second", sent)
	}
}

func TestManyRequestsAtOnceAreNotAllLetInBeforeTheFirstIsCounted(t *testing.T) {
	var r limit.Rate
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	r.Count("t", r.Take("t", 1000, 20_000, now), 100, 20_000) // 200 bytes an event
	in := 0
	for range 500 {
		if r.Take("t", 1000, 20_000, now).Allowed {
			in++
		}
	}
	if in != 9 {
		t.Errorf("%d requests of 100 events are under way, the bucket has 900", in)
	}
}

func TestARequestThatBringsNothingCostsNothing(t *testing.T) {
	var r limit.Rate
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	for range 100 {
		d := r.Take("t", 10, 1000, now)
		if !d.Allowed {
			t.Fatal("refused")
		}
		r.Count("t", d, 0, 1000)
	}
	if d := r.Take("t", 0, 1000, now); !d.Allowed || d.Limit != 0 {
		t.Errorf("without a limit: %+v", d)
	}
}
