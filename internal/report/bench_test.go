package report_test

import (
	"context"
	"log/slog"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/internal/event"
	"github.com/pulsestream/pulsestream/internal/report"
	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/store/duckdb"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

func processorTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// repeated gives the same events again and again, which costs next to nothing.
type repeated struct {
	events
	times int
}

func (r *repeated) Scan(ctx context.Context, t tenant.ID, s store.Scan, each func(*event.Stored) error) error {
	for range r.times {
		if err := r.events.Scan(ctx, t, s, each); err != nil {
			return err
		}
	}
	return nil
}

// perEvent reports what n events have cost and how fast they went.
func perEvent(b *testing.B, cpu time.Duration, n, bytes int64) {
	b.Helper()
	b.ReportMetric(float64(cpu.Nanoseconds())/float64(n), "cpu-ns/event")
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "events/s")
	b.ReportMetric(float64(bytes)/float64(n), "B/event")
	b.ReportMetric(0, "ns/op")
}

func order(b *testing.B, source report.Source, format report.Format, n int64) {
	s := report.Open(report.Config{Dir: b.TempDir(), Log: slog.New(slog.DiscardHandler), Now: time.Now, Events: source, Partitions: 1, Running: 1,
		Incomplete: func() bool { return false }})
	go s.Run(b.Context())
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	var bytes int64
	b.ReportAllocs()
	b.ResetTimer()
	began := processorTime(b)
	for range b.N {
		r, err := s.Order("acme", report.Order{Kind: report.Events, Format: format})
		for err == nil && r.State != report.Done {
			if r.State == report.Failed || r.State == report.Done && r.Rows != n {
				b.Fatalf("%+v", r)
			}
			<-tick.C
			r, err = s.Get("acme", r.ID)
		}
		if err != nil {
			b.Fatal(err)
		}
		bytes += r.Bytes
	}
	perEvent(b, processorTime(b)-began, n*int64(b.N), bytes)
}

// What writing costs: the events are there.
func BenchmarkReportOfEventsInMemory(b *testing.B) {
	const rows, times = 250_000, 4
	source := &repeated{events{all: realistic(rows)}, times}
	for _, format := range []report.Format{report.Parquet, report.CSV} {
		b.Run(string(format), func(b *testing.B) { order(b, source, format, rows*times) })
	}
}

// What all of it costs, with a million events in a store.
func BenchmarkReportOfEventsInAStore(b *testing.B) {
	const commits, each = 100, 10_000
	s, err := duckdb.Open(b.Context(), duckdb.Config{Path: filepath.Join(b.TempDir(), "events.duckdb"), Log: slog.New(slog.DiscardHandler), Now: time.Now})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	all := realistic(each * 10)
	var at store.Offset
	for i := range commits {
		c := &store.Commit{From: at, To: store.Offset{Incarnation: "one", Seq: at.Seq + 1}, Events: append([]event.Stored(nil), all[i%10*each:(i%10+1)*each]...)}
		for k := range c.Events {
			ev := &c.Events[k]
			ev.Position = event.Position{Seq: c.To.Seq, Index: uint32(k)}
			ev.Time, ev.Received = ev.Time.Add(time.Duration(i/10)*time.Hour), ev.Received.Add(time.Duration(i/10)*time.Hour)
			ev.ID = ev.ID[:20] + string(rune('a'+i/10)) + ev.ID[21:]
		}
		if at, err = s.Commit(b.Context(), c); err != nil {
			b.Fatal(err)
		}
	}
	for _, format := range []report.Format{report.Parquet, report.CSV} {
		b.Run(string(format), func(b *testing.B) { order(b, s, format, commits*each) })
	}
	b.Run("scan", func(b *testing.B) { // what of it is reading
		began := processorTime(b)
		for range b.N {
			if err := s.Scan(b.Context(), "acme", store.Scan{}, func(*event.Stored) error { return nil }); err != nil {
				b.Fatal(err)
			}
		}
		perEvent(b, processorTime(b)-began, int64(b.N)*commits*each, 0)
	})
}

// The writer that backups use, for comparison. It has five columns more.
func BenchmarkDuckDBWritesTheSame(b *testing.B) {
	all := realistic(250_000)
	p, err := duckdb.NewParquet(2)
	if err != nil {
		b.Fatal(err)
	}
	defer p.Close()
	path := filepath.Join(b.TempDir(), "x.parquet")
	b.ResetTimer()
	began := processorTime(b)
	for range b.N {
		for i := 0; i < len(all); i += 10_000 {
			if err := p.Add(all[i : i+10_000]); err != nil {
				b.Fatal(err)
			}
		}
		if _, err := p.Write(b.Context(), path); err != nil {
			b.Fatal(err)
		}
	}
	perEvent(b, processorTime(b)-began, int64(b.N*len(all)), int64(b.N*len(mustRead(b, path))))
}
