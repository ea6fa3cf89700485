package query

import (
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/internal/series"
)

func TestPlanReadsTheCoarsestRollupsThatAreExact(t *testing.T) {
	const m, h, d = time.Minute, time.Hour, 24 * time.Hour
	type seg struct {
		res      time.Duration
		from, to string
	}
	for _, c := range []struct {
		name, from, to string
		step           time.Duration
		want           []seg
	}{
		{"aligned minutes", "10:00:00", "11:00:00", m, []seg{{m, "10:00:00", "11:00:00"}}},
		{"five minutes have no rollups of their own", "10:00:00", "11:00:00", 5 * m, []seg{{m, "10:00:00", "11:00:00"}}},
		{"aligned hours", "10:00:00", "13:00:00", h, []seg{{h, "10:00:00", "13:00:00"}}},
		{"two-hour steps from hours", "11:00:00", "14:00:00", 2 * h, []seg{{h, "11:00:00", "14:00:00"}}},
		{"seconds from raw events", "10:00:00", "10:01:00", time.Second, []seg{{0, "10:00:00", "10:01:00"}}},
		{"90 seconds from raw events", "10:00:00", "10:03:00", 90 * time.Second, []seg{{0, "10:00:00", "10:03:00"}}},
		{"unaligned ends from raw events", "10:00:30", "10:05:00.5", m, []seg{{0, "10:00:30", "10:01:00"}, {m, "10:01:00", "10:05:00"}, {0, "10:05:00", "10:05:00.5"}}},
		{"within a minute", "10:00:10", "10:00:20", h, []seg{{0, "10:00:10", "10:00:20"}}},
		{"over the edge of a minute", "10:00:50", "10:01:10", h, []seg{{0, "10:00:50", "10:01:10"}}},
		{"hours with minutes at the ends", "09:59:59", "12:01:01", h, []seg{
			{0, "09:59:59", "10:00:00"}, {h, "10:00:00", "12:00:00"}, {m, "12:00:00", "12:01:00"}, {0, "12:01:00", "12:01:01"}}},
		{"nanoseconds count", "10:00:00.000000001", "10:02:00", m, []seg{{0, "10:00:00.000000001", "10:01:00"}, {m, "10:01:00", "10:02:00"}}},
		{"the range as a whole", "00:00:00", "23:59:00", 0, []seg{{h, "00:00:00", "23:00:00"}, {m, "23:00:00", "23:59:00"}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			on := func(s string) time.Time { return at("2026-03-04T" + s + "Z") }
			var want []segment
			for _, s := range c.want {
				want = append(want, segment{s.res, on(s.from), on(s.to)})
			}
			if got := plan(on(c.from), on(c.to), c.step); !reflect.DeepEqual(got, want) {
				t.Errorf("got  %v\nwant %v", got, want)
			}
		})
	}
	got := plan(at("2026-03-01T22:58:59Z"), at("2026-03-05T01:01:01Z"), d)
	var kinds []time.Duration
	for _, s := range got {
		kinds = append(kinds, s.resolution)
	}
	if want := []time.Duration{0, m, h, d, h, m, 0}; !slices.Equal(kinds, want) {
		t.Errorf("days with unaligned ends: got %v, want %v", kinds, want)
	}
}

func TestPlanCoversTheRangeOnceAndStaysWithinSteps(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	steps := []time.Duration{0, time.Second, 90 * time.Second, time.Minute, 7 * time.Minute, time.Hour, 3 * time.Hour, 24 * time.Hour, 7 * 24 * time.Hour}
	for range 2000 {
		from := time.Unix(rng.Int64N(2e9), rng.Int64N(1e9)).UTC()
		if rng.IntN(3) == 0 {
			from = from.Truncate(time.Hour)
		}
		to := from.Add(time.Duration(1 + rng.Int64N(int64(time.Second)<<rng.IntN(22))))
		step := steps[rng.IntN(len(steps))]
		at := from
		for _, s := range plan(from, to, step) {
			if !s.from.Equal(at) || !s.from.Before(s.to) {
				t.Fatalf("%v..%v step %v: %v does not go on at %v", from, to, step, s, at)
			}
			at = s.to
			if s.resolution == 0 {
				if step%time.Minute == 0 && s.to.Sub(s.from) >= 2*time.Minute {
					t.Fatalf("%v..%v step %v: %v is long for raw events", from, to, step, s)
				}
				continue
			}
			if !series.Align(s.from, s.resolution).Equal(s.from) || !series.Align(s.to, s.resolution).Equal(s.to) || step%s.resolution != 0 {
				t.Fatalf("%v..%v step %v: %v is not aligned", from, to, step, s)
			}
		}
		if !at.Equal(to) {
			t.Fatalf("%v..%v step %v ends at %v", from, to, step, at)
		}
	}
}

func TestPointsIsANumberForEachStepTouched(t *testing.T) {
	for _, c := range []struct {
		from, to string
		step     time.Duration
		want     int
	}{
		{"10:00:00", "11:00:00", time.Minute, 60}, {"10:00:30", "11:00:30", time.Minute, 61}, {"10:00:00", "11:00:00.000000001", time.Minute, 61},
		{"10:00:10", "10:00:20", time.Hour, 1}, {"10:59:59", "11:00:01", time.Hour, 2}, {"10:00:00", "10:00:00", time.Hour, 0},
	} {
		if got := points(at("2026-03-04T"+c.from+"Z"), at("2026-03-04T"+c.to+"Z"), c.step); got != c.want {
			t.Errorf("%s to %s by %s: got %d, want %d", c.from, c.to, c.step, got, c.want)
		}
	}
}
