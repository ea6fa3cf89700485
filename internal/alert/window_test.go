package alert

import (
	"math"
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/internal/series"
)

func TestBucketsAreSecondsUpToTenMinutesAndNeverMoreThanSixHundred(t *testing.T) {
	for window, want := range map[time.Duration][2]int64{ // width, number
		10 * time.Second: {1, 10}, 5 * time.Minute: {1, 300}, 10 * time.Minute: {1, 600}, 601 * time.Second: {2, 301},
		time.Hour: {6, 600}, 24 * time.Hour: {144, 600}, 25 * time.Minute: {3, 500},
	} {
		if s := shapeOf(series.Count, window); s.width != want[0] || s.n != want[1] {
			t.Errorf("%v: %d buckets of %ds, want %d of %ds", window, s.n, s.width, want[1], want[0])
		}
	}
	s := shapeOf(series.Count, time.Hour)
	for second, want := range map[int64]int64{0: 0, 5: 0, 6: 1, -1: -1, -6: -1, -7: -2} {
		if got := s.bucketOf(second); got != want {
			t.Errorf("second %d is in bucket %d, want %d", second, got, want)
		}
	}
}

func value(w *window, s *shape, now int64) float64 {
	w.advance(s, now)
	v, _, _ := w.value(s)
	return v
}

func TestSumIsExactAgainOnceAHugeValueHasLeft(t *testing.T) {
	s := shapeOf(series.Sum, 10*time.Second)
	for name, huge := range map[string]float64{"huge": 1e18, "overflowing": math.MaxFloat64} {
		w := newWindow()
		for at, v := range []float64{huge, huge, 0.1, 0.2, 0.3} {
			var a series.Agg
			a.Add(series.Observation{At: time.Unix(int64(at), 0), Value: v, Numeric: true})
			w.add(&s, int64(at), &a)
			value(&w, &s, int64(at))
		}
		if got := value(&w, &s, 11); math.Abs(got-0.6) > 1e-15 {
			t.Errorf("%s: %v", name, got)
		}
		if got := value(&w, &s, 20); got != 0 {
			t.Errorf("%s: empty, but %v", name, got)
		}
	}
}

func TestWindowGivesRoomBack(t *testing.T) {
	s := shapeOf(series.Count, 10*time.Minute)
	w := newWindow()
	a := series.Agg{Count: 1}
	for at := range int64(600) {
		w.add(&s, at, &a)
	}
	if got := value(&w, &s, 599); got != 600 {
		t.Fatal(got)
	}
	if got := value(&w, &s, 1195); got != 4 || cap(w.buckets) > 64 {
		t.Errorf("%v, with room for %d buckets", got, cap(w.buckets))
	}
	for at := range int64(100_000) {
		w.add(&s, 1200+at, &a)
		w.advance(&s, 1200+at)
	}
	if cap(w.buckets) > 4*600 {
		t.Errorf("room for %d buckets", cap(w.buckets))
	}
}
