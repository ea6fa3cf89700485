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
		c.Rollups = append(c.Rollups, series.Rollup{
			Tenant: "default", Metric: int64(i % 20), Labels: series.Labels{"country-" + strconv.Itoa(i/20%10), "status-" + strconv.Itoa(i/200)}, Step: time.Minute,
			Start: series.Align(l.clock, time.Minute), Agg: a,
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

func processorTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// cpu reports the processor time of each operation beside the wall clock's: on a machine that does other things as well
// it is the number to trust. Where an operation is about some events, it reports that of each event too.
func cpu(b *testing.B, events int) func() {
	begin := processorTime(b)
	return func() {
		each := float64(processorTime(b)-begin) / float64(b.N)
		b.ReportMetric(each/1e6, "cpu-ms/op")
		if events > 0 {
			b.ReportMetric(each/1e3/float64(events), "cpu-µs/event")
		}
	}
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
			report := cpu(b, size.events)
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				c := *all[i%len(all)]
				c.From, c.To.Seq = l.at, l.at.Seq+1
				l.commits(b, s, &c)
			}
			report()
		})
	}
}

// fiftyTenants is n events in commits of a thousand, with rollups of 20 metrics of each tenant.
func fiftyTenants(l *load, n int) (all []*store.Commit) {
	for range n / 1000 {
		c := l.commit(1000, 100)
		for i := range c.Events {
			c.Events[i].Tenant = tenant.ID(fmt.Sprint("tenant-", rand.IntN(50)*rand.IntN(50)/50))
		}
		for i := range c.Rollups {
			c.Rollups[i].Tenant = tenant.ID(fmt.Sprint("tenant-", rand.IntN(50)))
		}
		all = append(all, c)
	}
	return all
}

// BenchmarkFlush writes 256 k events of 50 tenants to disk, from their commits on.
func BenchmarkFlush(b *testing.B) {
	const events = 256_000
	s := open(b, b.TempDir(), asItIs)
	defer s.Close()
	l := newLoad()
	all := fiftyTenants(l, events)
	write := func() {
		for _, c := range all {
			c.From, c.To.Seq = l.at, l.at.Seq+1
			l.commits(b, s, c)
		}
		if err := s.Flush(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
	write()
	defer cpu(b, events)()
	for b.Loop() {
		write()
	}
}

// BenchmarkMerge makes one segment of sixteen, of 16 k events each.
func BenchmarkMerge(b *testing.B) {
	const events = 256_000
	l := newLoad()
	all := fiftyTenants(l, events)
	var spent time.Duration
	for b.Loop() {
		b.StopTimer()
		s := open(b, b.TempDir(), asItIs)
		l.at = store.Offset{}
		for i, c := range all {
			c.From, c.To.Seq = l.at, l.at.Seq+1
			l.commits(b, s, c)
			if i%16 == 15 {
				if err := s.Flush(b.Context()); err != nil {
					b.Fatal(err)
				}
			}
		}
		b.StartTimer()
		before := processorTime(b)
		if merged, err := s.MergeSegments(b.Context()); err != nil || !merged {
			b.Fatal(merged, err)
		}
		spent += processorTime(b) - before
		b.StopTimer()
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
	b.ReportMetric(float64(spent)/float64(b.N)/1e3/events, "cpu-µs/event")
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

// BenchmarkOpen opens a store whose process was killed with so many flushes of 1000 events, each a segment, in its write-ahead log.
func BenchmarkOpen(b *testing.B) {
	b.Setenv(childLog, "yes")
	for _, commits := range []int{50, 200, 800} {
		b.Run(fmt.Sprint(commits, "_flushes_in_log"), func(b *testing.B) {
			dir := b.TempDir()
			killed(b, dir, 1000, commits)
			info, err := os.Stat(filepath.Join(dir, "events.duckdb.wal"))
			if err != nil {
				b.Fatal(err)
			}
			copied := filepath.Join(b.TempDir(), "copy")
			for b.Loop() {
				b.StopTimer()
				if err := errors.Join(os.RemoveAll(copied), os.CopyFS(copied, os.DirFS(dir))); err != nil {
					b.Fatal(err)
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
