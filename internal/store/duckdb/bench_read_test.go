package duckdb_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/internal/event"
	"github.com/pulsestream/pulsestream/internal/series"
	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/store/duckdb"
)

// BenchmarkRead fills a store with 5 M events first, which takes half a minute.
func BenchmarkRead(b *testing.B) {
	dir := benchDir(b)
	s := open(b, dir, nil)
	defer s.Close()
	fill(b, s)
	b.Logf("files have %d MB", bytesIn(b, dir)>>20)
	page := func(p store.Page) func(b *testing.B) []event.Stored {
		p.Limit = 100
		return func(b *testing.B) []event.Stored {
			events, err := s.Page(b.Context(), "default", p)
			if err != nil || len(events) != p.Limit {
				b.Fatal(len(events), err)
			}
			return events
		}
	}
	newest := page(store.Page{})(b)
	oldest := func() event.Stored {
		var e event.Stored
		if err := s.Scan(b.Context(), "default", store.Scan{Limit: 1}, func(x *event.Stored) error { e = *x; e.Keep(nil); return nil }); err != nil {
			b.Fatal(err)
		}
		return e
	}()
	at := func(c store.Cursor) event.Stored { return page(store.Page{After: &c})(b)[0] }
	middle := store.Cursor{Time: oldest.Time.Add(newest[0].Time.Sub(oldest.Time) / 2)}
	for name, p := range map[string]store.Page{
		"first": {}, "second": {After: &store.Cursor{Time: newest[99].Time, Position: newest[99].Position}}, "middle": {After: &middle},
		"of_a_type":    {EventFilter: store.EventFilter{Types: []string{"charge.type7"}}},
		"of_a_subject": {EventFilter: store.EventFilter{Source: newest[0].Source, Types: []string{"charge.*"}}},
	} {
		b.Run("page/"+name, func(b *testing.B) {
			defer cpu(b, 0)()
			for b.Loop() {
				page(p)(b)
			}
		})
	}
	for name, e := range map[string]event.Stored{"newest": newest[0], "middle": at(middle), "oldest": oldest} {
		b.Run("event/"+name, func(b *testing.B) {
			defer cpu(b, 0)()
			for b.Loop() {
				if _, err := s.Event(b.Context(), "default", e.Source, e.ID); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("event/absent", func(b *testing.B) {
		defer cpu(b, 0)()
		for b.Loop() {
			_, _ = s.Event(b.Context(), "default", "stripe", "evt_7777777777777777aaaaaaaa")
		}
	})
	for _, without := range []bool{false, true} {
		b.Run(fmt.Sprintf("scan/all_without_data_%v", without), func(b *testing.B) {
			defer cpu(b, 4_500_000)()
			for b.Loop() {
				n := 0
				if err := s.Scan(b.Context(), "default", store.Scan{WithoutData: without}, func(*event.Stored) error { n++; return nil }); err != nil || n < 4_000_000 {
					b.Fatal(n, err)
				}
			}
		})
	}
	b.Run("identities/all", func(b *testing.B) {
		defer cpu(b, 5_000_000)()
		for b.Loop() {
			n := 0
			if err := s.Identities(b.Context(), 0, time.Time{}, func(store.Identity) error { n++; return nil }); err != nil || n < 5_000_000 {
				b.Fatal(n, err)
			}
		}
	})
}

// bytesIn is the size of all files of a folder.
func bytesIn(b *testing.B, dir string) (n int64) {
	b.Helper()
	err := filepath.WalkDir(dir, func(_ string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			n += info.Size()
		}
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
	return n
}

func fill(b *testing.B, s *duckdb.Store) {
	b.Helper()
	p, err := s.Partition(b.Context(), 0)
	if err != nil {
		b.Fatal(err)
	}
	if p.Offset.Seq > 0 {
		return
	}
	l := newLoad()
	begin := time.Now()
	for l.n < 5_000_000 {
		l.into(b, s, 10_000, 0)
	}
	b.Logf("5 M events took %v", time.Since(begin))
}

// BenchmarkRollups reads a day of one metric with 100 series, of 20 such metrics: as they were flushed, each minute's in
// two parts, and in one file.
func BenchmarkRollups(b *testing.B) {
	begin := time.Date(2026, 3, 14, 0, 0, 0, 0, time.UTC)
	for _, compacted := range []bool{false, true} {
		dir := filepath.Join(benchDir(b), fmt.Sprintf("rollups_compacted_%v", compacted))
		fillRollups(b, dir, begin, compacted)
		s := open(b, dir, asItIs)
		read := func(name string, q store.RollupQuery, want int) {
			q.Metric, q.Step, q.From, q.To = 7, time.Minute, begin, begin.Add(24*time.Hour)
			b.Run(fmt.Sprintf("compacted_%v/%s_scalars_%v", compacted, name, q.Scalars), func(b *testing.B) {
				defer cpu(b, 0)()
				for b.Loop() {
					n := 0
					if err := s.Rollups(b.Context(), "default", q, func(*series.Rollup) error { n++; return nil }); err != nil || n != want {
						b.Fatal(n, err)
					}
				}
			})
		}
		for _, scalars := range []bool{true, false} {
			read("all_series", store.RollupQuery{GroupBy: []int{0, 1}, Scalars: scalars}, 144_000)
			read("merged", store.RollupQuery{Scalars: scalars}, 1440)
			read("by_country_10m", store.RollupQuery{GroupBy: []int{0}, Bucket: 10 * time.Minute, Scalars: scalars}, 1440)
		}
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

// asItIs keeps a store from merging files by itself.
func asItIs(cfg *duckdb.Config) { cfg.CompactEvery = -1 }

// fillRollups makes a store of 2.9 M series and minutes, in two parts each, and leaves it checkpointed.
func fillRollups(b *testing.B, dir string, begin time.Time, compact bool) {
	b.Helper()
	if _, err := os.Stat(dir); err == nil {
		return
	}
	s := open(b, dir, asItIs)
	l := newLoad()
	for part := range 2 * 1440 {
		c := l.commit(0, 0)
		at := begin.Add(time.Duration(part) * 30 * time.Second)
		for n := range 20 * 100 {
			var a series.Agg
			a.Add(series.Observation{At: at, Value: float64(n), Numeric: true, Distinct: uint64(n) * 0x9e3779b97f4a7c15, HasDistinct: true})
			c.Rollups = append(c.Rollups, series.Rollup{
				Tenant: "default", Metric: int64(n / 100), Labels: series.Labels{"country-" + strconv.Itoa(n%10), "status-" + strconv.Itoa(n/10%10)}, Step: time.Minute,
				Start: series.Align(at, time.Minute), Agg: a,
			})
		}
		l.commits(b, s, c)
	}
	if compact {
		start := time.Now()
		n, err := s.Compact(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		b.Logf("merging took %d rows away in %v", n, time.Since(start))
	}
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
}

// benchDir is where stores are kept: a folder named by PULSESTREAM_BENCH_DIR, for the next time, or one that goes with the benchmark.
func benchDir(b *testing.B) string {
	if dir := os.Getenv("PULSESTREAM_BENCH_DIR"); dir != "" {
		return dir
	}
	return b.TempDir()
}
