package demo

import (
	"math"
	"time"
)

// How the history is thinned.
const (
	// denseFor is how far back it is as dense as live traffic, and ramp how fast it gets thin before that.
	denseFor = 15 * time.Minute
	ramp     = 5 * time.Minute
	thin     = 1.0 / 60
)

// density is the share of stories that a history has of those that began so long ago, where day is 0 to 1 by the curve.
func density(age time.Duration, day float64) float64 {
	if age <= denseFor {
		return 1
	}
	near := math.Exp(-float64(age-denseFor) / float64(ramp))
	return near + (1-near)*thin*day
}

// curve is how busy people are at a local time, 0 to 1.
type curve func(local time.Time) float64

// shopping is for buying and what comes of it: a small peak at noon, a high one in the evening, more at weekends.
func shopping(local time.Time) float64 {
	h := hour(local)
	day := 0.06 + 0.5*bump(h, 12.5, 2.8) + 0.84*bump(h, 20, 2.6)
	if weekend(local) {
		day = 0.06 + 0.75*bump(h, 13.5, 3.6) + 0.9*bump(h, 20, 2.6)
	}
	return min(1, day)
}

// working is for what developers do.
func working(local time.Time) float64 {
	h := hour(local)
	day := 0.05 + 0.85*bump(h, 10.7, 1.9) + 0.9*bump(h, 15.3, 2.1)
	if weekend(local) {
		day = 0.04 + 0.12*bump(h, 15, 3.5)
	}
	return min(1, day)
}

// mailing is for newsletters, which go out in the morning and at lunch.
func mailing(local time.Time) float64 {
	h := hour(local)
	return min(1, 0.08+0.9*bump(h, 8.5, 1.2)+0.6*bump(h, 12.5, 1.5)+0.4*bump(h, 18.5, 2))
}

func hour(t time.Time) float64 { return float64(t.Hour()) + float64(t.Minute())/60 }

func weekend(t time.Time) bool { return t.Weekday() == time.Saturday || t.Weekday() == time.Sunday }

// bump is a bell around an hour of the day, whose ends meet at midnight.
func bump(h, at, width float64) float64 {
	d := math.Abs(h - at)
	d = min(d, 24-d)
	return math.Exp(-d * d / (2 * width * width))
}

// restless is the short-term noise of a flow, around 1: it wanders within seconds and minutes, and now and then there is a
// burst of a few seconds.
func restless(seed uint64, flow string, second int64) float64 {
	level := 1 + 0.28*wander(seed, flow+"/seconds", second, 7) + 0.22*wander(seed, flow+"/minutes", second, 97)
	const every = 83 // seconds, of which at most one burst
	slot := second / every
	r := dice(seed, flow+"/burst", slot, 0)
	if begin, lasts, strength := r.Int64N(every-12), 4+r.Int64N(8), 1+1.6*r.Float64(); r.Float64() < 0.3 {
		if at := second - slot*every; at >= begin && at < begin+lasts {
			level *= strength
		}
	}
	return max(0.15, level)
}

// wander is -1 to 1, and goes smoothly from one random value to the next within so many seconds.
func wander(seed uint64, what string, second, seconds int64) float64 {
	slot := second / seconds
	from := 2*dice(seed, what, slot, 0).Float64() - 1
	to := 2*dice(seed, what, slot+1, 0).Float64() - 1
	x := float64(second-slot*seconds) / float64(seconds)
	x = x * x * (3 - 2*x)
	return from + (to-from)*x
}
