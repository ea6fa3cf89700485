package duckdb_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/internal/event"
	"github.com/pulsestream/pulsestream/internal/series"
	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/store/duckdb"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

// load makes commits as a partition worker does, from batches of events 20 ms apart.
type load struct {
	at    store.Offset
	clock time.Time
	n     int
}

func newLoad() *load { return &load{clock: time.Date(2026, 3, 14, 0, 0, 0, 0, time.UTC)} }

// commit makes the next one. Of ten tenants' events nine in ten are "default"'s; rollups are of series of 20 metrics.
func (l *load) commit(events, rollups int) *store.Commit {
	c := &store.Commit{From: l.at, To: store.Offset{Incarnation: "one", Seq: l.at.Seq + 1}}
	for i := range events {
		l.n++
		l.clock = l.clock.Add(20 * time.Millisecond)
		r := rand.Uint64()
		c.Events = append(c.Events, event.Stored{
			Tenant: tenant.ID([]string{"default", "acme"}[min(1, r%10/9)]), Position: event.Position{Seq: c.To.Seq, Index: uint32(i)},
			Event: event.Event{
				ID: fmt.Sprintf("evt_%016x%08x", r, uint32(l.n)), Source: []string{"stripe", "github", "twilio"}[r%3], Type: fmt.Sprint("charge.type", r%20),
				Subject: fmt.Sprint("cus_", r%100_000), Time: l.clock.Add(-time.Duration(r % 1e9)), Received: l.clock, Identified: true,
				Data: fmt.Appendf(nil, `{"id":"ch_%016x","object":"charge","amount":%d,"currency":"usd","country":"US","status":"succeeded","paid":true,"metadata":{"order":"%d","tags":["a","b"]},"description":"the quick brown fox %x"}`,
					r, r%100_000, l.n, r>>32),
			},
		})
	}
	for i := range rollups {
		var a series.Agg
		a.Add(series.Observation{At: l.clock, Value: float64(i), Numeric: true, Distinct: uint64(i) * 0x9e3779b97f4a7c15, HasDistinct: true})
		step := series.Resolutions()[i%3]
		c.Rollups = append(c.Rollups, series.Rollup{
			Tenant: "default", Metric: int64(i % 20), Labels: series.Labels{"country-" + strconv.Itoa(i/20%10), "status-" + strconv.Itoa(i/200)}, Step: step,
			Start: series.Align(l.clock, step), Agg: a,
		})
	}
	return c
}

func (l *load) into(b testing.TB, s *duckdb.Store, events, rollups int) {
	b.Helper()
	l.commits(b, s, l.commit(events, rollups))
}

func (l *load) commits(b testing.TB, s *duckdb.Store, c *store.Commit) {
	b.Helper()
	to, err := s.Commit(b.Context(), c)
	if err != nil {
		b.Fatal(err)
	}
	l.at = to
}

// cpu reports the processor time of each operation beside the wall clock's: on a machine that does other things as well
// it is the number to trust.
func cpu(b *testing.B) func() {
	used := func() time.Duration {
		var u syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
			b.Fatal(err)
		}
		return time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	begin := used()
	return func() { b.ReportMetric(float64(used()-begin)/float64(b.N)/1e6, "cpu-ms/op") }
}

func BenchmarkCommit(b *testing.B) {
	for _, size := range []struct{ events, rollups int }{{0, 0}, {10, 10}, {1000, 100}, {10_000, 1000}} {
		b.Run(fmt.Sprintf("%d_events_%d_rollups", size.events, size.rollups), func(b *testing.B) {
			s := open(b, b.TempDir(), nil)
			defer s.Close()
			l := newLoad()
			l.into(b, s, size.events, size.rollups)
			var all []*store.Commit
			for range 64 {
				all = append(all, l.commit(size.events, size.rollups))
			}
			report := cpu(b)
			for i := 0; b.Loop(); i++ {
				c := *all[i%len(all)]
				c.From, c.To.Seq = l.at, l.at.Seq+1
				l.commits(b, s, &c)
			}
			report()
		})
	}
}

// BenchmarkCommitWhileCompacting makes small commits while the rollups of a day are compacted.
func BenchmarkCommitWhileCompacting(b *testing.B) {
	begin := time.Date(2026, 3, 14, 0, 0, 0, 0, time.UTC)
	dir := filepath.Join(benchDir(b), "rollups_compacted_false")
	fillRollups(b, dir, begin, false)
	for _, compacting := range []bool{false, true} {
		b.Run(fmt.Sprint(compacting), func(b *testing.B) {
			copied := b.TempDir()
			if err := os.CopyFS(copied, os.DirFS(dir)); err != nil {
				b.Fatal(err)
			}
			s := open(b, copied, asItIs)
			defer s.Close()
			ctx, stop := context.WithCancel(b.Context())
			var others sync.WaitGroup
			if compacting {
				others.Go(func() { _, _ = s.Compact(ctx) })
			}
			var at store.Offset
			var took []time.Duration
			for b.Loop() {
				c := numbered(at, 10)
				c.Partition = 1
				for i := range c.Events {
					c.Events[i].Partition = 1
				}
				start := time.Now()
				var err error
				if at, err = s.Commit(b.Context(), c); err != nil {
					b.Fatal(err)
				}
				took = append(took, time.Since(start))
			}
			stop()
			others.Wait()
			slices.Sort(took)
			for name, q := range map[string]float64{"p50-ms": 0.5, "p99-ms": 0.99, "max-ms": 1} {
				b.ReportMetric(float64(took[int(q*float64(len(took)-1))])/1e6, name)
			}
		})
	}
}

// BenchmarkOpen opens a store whose process was killed with so many commits of 1000 events in its write-ahead log.
func BenchmarkOpen(b *testing.B) {
	b.Setenv(childLog, "yes")
	for _, commits := range []int{50, 200, 800} {
		b.Run(fmt.Sprint(commits, "_commits_in_log"), func(b *testing.B) {
			dir := b.TempDir()
			killed(b, dir, 1000, commits)
			info, err := os.Stat(filepath.Join(dir, "events.duckdb.wal"))
			if err != nil {
				b.Fatal(err)
			}
			copied := filepath.Join(dir, "copy")
			for b.Loop() {
				b.StopTimer()
				if err := errors.Join(os.RemoveAll(copied), os.Mkdir(copied, 0o700)); err != nil {
					b.Fatal(err)
				}
				for _, name := range []string{"events.duckdb", "events.duckdb.wal"} {
					data, err := os.ReadFile(filepath.Join(dir, name))
					if err != nil {
						b.Fatal(err)
					}
					if err := os.WriteFile(filepath.Join(copied, name), data, 0o600); err != nil {
						b.Fatal(err)
					}
				}
				b.StartTimer()
				s := open(b, copied, asItIs)
				b.StopTimer()
				start := time.Now()
				if err := s.Close(); err != nil {
					b.Fatal(err)
				}
				b.ReportMetric(float64(time.Since(start))/1e6, "checkpoint-ms")
				b.StartTimer()
			}
			b.ReportMetric(float64(info.Size()>>20), "log-MB")
		})
	}
}

// BenchmarkRead fills a store with 5 M events first, which takes half a minute.
func BenchmarkRead(b *testing.B) {
	dir := benchDir(b)
	s := open(b, dir, nil)
	defer s.Close()
	fill(b, s)
	if info, err := os.Stat(filepath.Join(dir, "events.duckdb")); err == nil {
		b.Logf("the file has %d MB", info.Size()>>20)
	}
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
		if err := s.Scan(b.Context(), "default", store.Scan{Limit: 1}, func(x *event.Stored) error { e = *x; return nil }); err != nil {
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
			defer cpu(b)()
			for b.Loop() {
				page(p)(b)
			}
		})
	}
	for name, e := range map[string]event.Stored{"newest": newest[0], "middle": at(middle), "oldest": oldest} {
		b.Run("event/"+name, func(b *testing.B) {
			defer cpu(b)()
			for b.Loop() {
				if _, err := s.Event(b.Context(), "default", e.Source, e.ID); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("event/absent", func(b *testing.B) {
		defer cpu(b)()
		for b.Loop() {
			_, _ = s.Event(b.Context(), "default", "stripe", "evt_7777777777777777aaaaaaaa")
		}
	})
	for _, without := range []bool{false, true} {
		b.Run(fmt.Sprintf("scan/all_without_data_%v", without), func(b *testing.B) {
			defer cpu(b)()
			for b.Loop() {
				n := 0
				if err := s.Scan(b.Context(), "default", store.Scan{WithoutData: without}, func(*event.Stored) error { n++; return nil }); err != nil || n < 4_000_000 {
					b.Fatal(n, err)
				}
			}
		})
	}
	b.Run("identities/all", func(b *testing.B) {
		defer cpu(b)()
		for b.Loop() {
			n := 0
			if err := s.Identities(b.Context(), 0, time.Time{}, func(store.Identity) error { n++; return nil }); err != nil || n < 5_000_000 {
				b.Fatal(n, err)
			}
		}
	})
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

// BenchmarkRollups reads a day of one metric with 100 series, of 20 such metrics: as they were committed, each minute's in
// two parts, and compacted.
func BenchmarkRollups(b *testing.B) {
	begin := time.Date(2026, 3, 14, 0, 0, 0, 0, time.UTC)
	for _, compacted := range []bool{false, true} {
		dir := filepath.Join(benchDir(b), fmt.Sprintf("rollups_compacted_%v", compacted))
		fillRollups(b, dir, begin, compacted)
		s := open(b, dir, asItIs)
		read := func(name string, q store.RollupQuery, want int) {
			q.Metric, q.Step, q.From, q.To = 7, time.Minute, begin, begin.Add(24*time.Hour)
			b.Run(fmt.Sprintf("compacted_%v/%s_scalars_%v", compacted, name, q.Scalars), func(b *testing.B) {
				defer cpu(b)()
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

// asItIs keeps a store from compacting by itself.
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
		b.Logf("compaction merged %d rows away in %v", n, time.Since(start))
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
