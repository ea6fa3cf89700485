package alert

import (
	"fmt"
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/internal/series"
)

// BenchmarkTick is one second of rules with 100 groups each: every group gets 20 observations, then all is evaluated.
func BenchmarkTick(b *testing.B) {
	for _, kind := range []series.Kind{series.Count, series.Sum, series.Max} {
		b.Run(string(kind)+"/100x100", func(b *testing.B) { tick(b, kind, 100, 1) })
	}
	for _, kind := range []series.Kind{series.P95, series.Unique} {
		b.Run(string(kind)+"/10x100", func(b *testing.B) { tick(b, kind, 10, 1) })
	}
	b.Run("count/100x100/quiet", func(b *testing.B) { tick(b, series.Count, 100, 0) })
}

func tick(b *testing.B, kind series.Kind, rules int, pace int64) {
	bound := make([]Bound, rules)
	for i := range bound {
		bound[i] = bind(func(r *Rule) {
			byCountry(r)
			r.ID, r.Agg, r.Condition.Value = int64(i+10), kind, 1e9
		})
	}
	e := start(bound...)
	deltas := make([]series.Delta, 100)
	for i := range deltas {
		deltas[i] = delta(0, 0, "visa", fmt.Sprintf("country-%d", i))
		for k := range 20 {
			deltas[i].Agg.Add(series.Observation{At: noon, Value: float64(k*i%97) + 1, Numeric: true, Distinct: uint64(k*100+i) * 0x9E3779B97F4A7C15, HasDistinct: true})
		}
	}
	second := noon.Unix()
	run := func(n int, pace int64) {
		second += pace
		for i := range deltas[:n] {
			deltas[i].Second = second
			e.Add(&deltas[i])
		}
		e.Evaluate(time.Unix(second, 0), false)
	}
	for range 300 { // fill the window
		run(100, 1)
	}
	b.ReportAllocs()
	for b.Loop() {
		run(100*int(pace), pace)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(100*rules), "ns/group")
}

// BenchmarkAddUnused is a delta of a metric that no rule is about.
func BenchmarkAddUnused(b *testing.B) {
	e := start(bind(byCountry))
	d := delta(0, 1, "visa", "US")
	d.Metric = 99
	b.ReportAllocs()
	for b.Loop() {
		e.Add(&d)
	}
}
