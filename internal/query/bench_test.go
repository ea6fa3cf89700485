package query

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/internal/event"
	"github.com/pulsestream/pulsestream/internal/metric"
	"github.com/pulsestream/pulsestream/internal/series"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

// BenchmarkRun asks for a day of 100 series, 144 000 rollups of a minute.
func BenchmarkRun(b *testing.B) {
	visits := compile(b, metric.Definition{ID: 21, Slug: "visits", Value: "data.seconds", Dimensions: map[string]string{"page": "data.page"}})
	w := &writer{t: b, events: openStore(b)}
	day := at("2026-03-04T00:00:00Z")
	for _, step := range series.Resolutions()[:1] { // others are made of it
		var rollups []series.Rollup
		for start := day; start.Before(day.Add(24 * time.Hour)); start = start.Add(step) {
			for i := range 100 {
				r := series.Rollup{Tenant: acme, Metric: 21, Labels: series.Labels{fmt.Sprintf("page%02d", i)}, Step: step, Start: start}
				for j := range 10 {
					r.Agg.Add(series.Observation{At: start, Value: float64(i*j + 1), Numeric: true, Distinct: uint64(start.Unix()+int64(j)) * 0x9e3779b97f4a7c15, HasDistinct: true})
				}
				rollups = append(rollups, r)
			}
		}
		w.commitRollups(nil, rollups)
	}
	e := &Engine{Events: w.events}
	for _, c := range []struct{ name, query string }{
		{"sum of all by 1m", "step=1m&agg=sum"},
		{"sum of 100 series by 1m", "step=1m&agg=sum&group_by=page&limit=100"},
		{"sum of top 20 by 1m", "step=1m&agg=sum&group_by=page"},
		{"sum of 100 series by 5m", "step=5m&agg=sum&group_by=page&limit=100"},
		{"sum of 100 series by 1h", "step=1h&agg=sum&group_by=page&limit=100"},
		{"p95 of all by 5m", "step=5m&agg=p95"},
		{"p95 of 100 series by 1m", "step=1m&agg=p95&group_by=page&limit=100"},
		{"unique of 100 series by 1m", "step=1m&agg=unique&group_by=page&limit=100"},
		{"unique of 100 series by 1h", "step=1h&agg=unique&group_by=page&limit=100"},
	} {
		q, errs := Parse(values("from=2026-03-04T00:00:00Z&to=2026-03-05T00:00:00Z&"+c.query), visits.Definition(), day)
		if errs != nil {
			b.Fatal(errs)
		}
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			bytes := 0
			for b.Loop() {
				r, err := e.Run(context.Background(), acme, visits, q)
				if err != nil {
					b.Fatal(err)
				}
				body, err := json.Marshal(r)
				if err != nil {
					b.Fatal(err)
				}
				bytes = len(body)
			}
			b.ReportMetric(float64(bytes), "answer-B")
		})
	}
}

// BenchmarkRunRaw asks about an hour of 360 000 events, 100 a second, in 3600 commits.
func BenchmarkRunRaw(b *testing.B) {
	shop := openShop(b)
	begin := at("2026-03-04T10:00:00Z")
	for s := range 3600 {
		evs := make([]event.Stored, 100)
		for i := range evs {
			evs[i] = shop.visit("10:00:00", fmt.Sprintf("page%d", i%10), float64(i))
			evs[i].Time = begin.Add(time.Duration(s)*time.Second + time.Duration(i)*10*time.Millisecond)
		}
		shop.commit(evs)
	}
	for _, c := range []struct{ name, query string }{
		{"aligned by 1m", "from=2026-03-04T10:00:00Z&to=2026-03-04T11:00:00Z&step=1m"},
		{"unaligned by 1m", "from=2026-03-04T10:00:30Z&to=2026-03-04T10:59:30Z&step=1m"},
		{"15 minutes by 1s", "from=2026-03-04T10:30:00Z&to=2026-03-04T10:45:00Z&step=1s"},
		{"an hour by 90s", "from=2026-03-04T10:00:00Z&to=2026-03-04T11:00:00Z&step=90s"},
	} {
		q, errs := Parse(values(c.query+"&group_by=page"), shop.visits.Definition(), begin)
		if errs != nil {
			b.Fatal(errs)
		}
		b.Run(c.name, func(b *testing.B) {
			for b.Loop() {
				if _, err := shop.engine.Run(context.Background(), acme, shop.visits, q); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("overview", func(b *testing.B) {
		for b.Loop() {
			if _, err := shop.engine.Overview(context.Background(), acme, OverviewQuery{Window: DefaultWindow, Now: begin.Add(time.Hour)}); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkRender is the JSON of a day by the minute.
func BenchmarkRender(b *testing.B) {
	r := Result{Metric: "m", Agg: series.Sum, From: begin(), To: begin().Add(24 * time.Hour), Step: series.Duration(time.Minute), Series: []Series{{Points: make(Points, 1440)}}}
	for j := range r.Series[0].Points {
		r.Series[0].Points[j] = Point{UnixMS: begin().UnixMilli() + int64(j)*60_000, Value: float64(j) / 8, Valid: true}
	}
	b.Run("AppendJSON", func(b *testing.B) {
		var buf []byte
		b.ReportAllocs()
		for b.Loop() {
			buf = r.AppendJSON(buf[:0])
		}
		b.SetBytes(int64(len(buf)))
	})
	b.Run("encoding/json", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			buf, err := json.Marshal(r)
			if err != nil {
				b.Fatal(err)
			}
			b.SetBytes(int64(len(buf)))
		}
	})
}

// BenchmarkDayByMinute is the chart of the goals: a day at one minute for one of many tenants, asked again and again as time goes on.
func BenchmarkDayByMinute(b *testing.B) {
	day := at("2026-03-04T00:00:00Z")
	visits := compile(b, metric.Definition{ID: 21, Slug: "visits", Value: "data.seconds", Dimensions: map[string]string{"page": "data.page"}})
	w := &writer{t: b, events: openStore(b)}
	for t := range 20 {
		var rollups []series.Rollup
		for _, step := range series.Resolutions()[:1] { // others are made of it
			for start := day; start.Before(day.Add(24 * time.Hour)); start = start.Add(step) {
				for i := range 5 {
					r := series.Rollup{Tenant: tenant.ID(fmt.Sprint("tenant", t)), Metric: 21, Labels: series.Labels{fmt.Sprint("page", i)}, Step: step, Start: start}
					for j := range 10 {
						r.Agg.Add(series.Observation{At: start, Value: float64(i*j + 1), Numeric: true})
					}
					rollups = append(rollups, r)
				}
			}
		}
		w.commitRollups(nil, rollups)
	}
	now := day.Add(23*time.Hour + 30*time.Minute)
	for _, c := range []struct {
		name string
		e    *Engine
	}{
		{"from the store", &Engine{Events: w.events}},
		{"from the cache", &Engine{Events: NewCache(w.events, CacheConfig{Now: func() time.Time { return now }})}},
	} {
		for _, what := range []string{"agg=sum", "agg=sum&group_by=page", "agg=p95"} {
			q, errs := Parse(values("from=2026-03-03T23:30:00Z&to=2026-03-04T23:30:00Z&step=1m&"+what), visits.Definition(), now)
			if errs != nil {
				b.Fatal(errs)
			}
			b.Run(c.name+" "+what, func(b *testing.B) {
				b.ReportAllocs()
				var buf []byte
				for b.Loop() {
					r, err := c.e.Run(context.Background(), "tenant7", visits, q)
					if err != nil {
						b.Fatal(err)
					}
					buf = r.AppendJSON(buf[:0])
				}
			})
		}
	}
}
