package postgres_test

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/internal/event"
	"github.com/pulsestream/pulsestream/internal/series"
	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/store/postgres"
	"github.com/pulsestream/pulsestream/internal/store/postgres/pgtest"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

// load makes commits as a partition's worker does: events of some 350 bytes of ten tenants, 100 µs apart, and rollups of 20 metrics.
type load struct {
	partition int
	at        store.Offset
	clock     time.Time
	n         int
}

func newLoad(partition int) *load {
	return &load{partition: partition, clock: time.Now().UTC().Truncate(24 * time.Hour)}
}

func (l *load) commit(events, rollups int) *store.Commit {
	c := &store.Commit{Partition: l.partition, From: l.at, To: store.Offset{Incarnation: "one", Seq: l.at.Seq + 1}}
	for i := range events {
		l.n++
		l.clock = l.clock.Add(100 * time.Microsecond)
		r := rand.Uint64()
		c.Events = append(c.Events, event.Stored{
			Tenant: l.tenant(int(r % 10)), Partition: l.partition, Position: event.Position{Seq: c.To.Seq, Index: uint32(i)},
			Event: event.Event{
				ID: fmt.Sprintf("evt_%016x%08x", r, uint32(l.n)), Source: []string{"stripe", "github", "twilio"}[r%3], Type: fmt.Sprint("charge.type", r%20),
				Subject: fmt.Sprint("cus_", r%100_000), Time: l.clock.Add(-time.Duration(r % 1e9)), Received: l.clock, Identified: true,
				Data: fmt.Appendf(nil, `{"id":"ch_%016x","object":"charge","amount":%d,"currency":"usd","country":"US","status":"succeeded","paid":true,"metadata":{"order":"%d","tags":["a","b"]},"description":"the quick brown fox %x jumps over the lazy dog, and then it does the same again","receipt":"https://pay.example.com/receipts/%x","captured":true}`,
					r, r%100_000, l.n, r>>32, r),
			},
		})
	}
	for i := range rollups {
		var a series.Agg
		for n := range 1 + i%4 {
			a.Add(series.Observation{At: l.clock, Value: float64(i * n), Numeric: true, Distinct: uint64(i+n) * 0x9e3779b97f4a7c15, HasDistinct: true})
		}
		c.Rollups = append(c.Rollups, series.Rollup{
			Tenant: l.tenant(i % 10), Metric: int64(i % 20), Labels: series.Labels{"country-" + strconv.Itoa(i/20%10), "status-" + strconv.Itoa(i/200)}, Step: time.Minute,
			Start: series.Align(l.clock, time.Minute), Agg: a,
		})
	}
	return c
}

func (l *load) tenant(n int) tenant.ID { return tenant.ID(fmt.Sprintf("tenant-%d-%d", l.partition, n)) }

// into commits, from where the partition is.
func (l *load) into(b testing.TB, db *postgres.DB, c *store.Commit) {
	b.Helper()
	c.From, c.To.Seq = l.at, l.at.Seq+1
	to, err := db.Events().Commit(b.Context(), c)
	if err != nil {
		b.Error(err)
		return
	}
	l.at = to
}

func processor(b *testing.B, s *pgtest.Server) time.Duration {
	b.Helper()
	took, err := s.Processor()
	if err != nil {
		b.Fatal(err)
	}
	return took
}

// BenchmarkCommit commits 10 000 events with 3 000 rollups, as one worker and as two at a time, and copies the same events into a table without an index
// in between: that is as fast as PostgreSQL takes rows at all. The server syncs what it commits.
func BenchmarkCommit(b *testing.B) {
	const events, rollups = 10_000, 3_000
	server := pgtest.Start(b, pgtest.Options{Durable: true})
	for _, workers := range []int{1, 2} {
		b.Run(fmt.Sprint(workers, "_workers"), func(b *testing.B) {
			db := open(b, server.Database(b), nil)
			if err := db.BareTable(b.Context()); err != nil {
				b.Fatal(err)
			}
			loads, made := make([]*load, workers), make([][]*store.Commit, workers)
			for w := range workers {
				loads[w] = newLoad(w)
				for range 16 {
					made[w] = append(made[w], loads[w].commit(events, rollups))
				}
			}
			var committing, copying, committed, copied time.Duration // the last two are the server's processor time
			round := func(i int) {
				all := func(do func(w int)) time.Duration {
					began := time.Now()
					var running sync.WaitGroup
					for w := range workers {
						running.Go(func() { do(w) })
					}
					running.Wait()
					return time.Since(began)
				}
				begin := processor(b, server)
				committing += all(func(w int) { loads[w].into(b, db, made[w][i%16]) })
				between := processor(b, server)
				committed += between - begin
				copying += all(func(w int) {
					if err := db.BareCopy(b.Context(), made[w][i%16]); err != nil {
						b.Error(err)
					}
				})
				copied += processor(b, server) - between
			}
			round(0)
			committing, copying, committed, copied = 0, 0, 0, 0
			n := 0
			for b.Loop() {
				n++
				round(n)
			}
			rate := func(took time.Duration) float64 { return float64(n*workers*events) / took.Seconds() }
			b.ReportMetric(rate(committing), "commit-events/s")
			b.ReportMetric(rate(copying), "copy-events/s")
			b.ReportMetric(rate(committing)/rate(copying), "ratio")
			each := func(took time.Duration) float64 { return float64(took.Microseconds()) / float64(n*workers*events) }
			b.ReportMetric(each(committed), "commit-cpu-µs/event")
			b.ReportMetric(each(copied), "copy-cpu-µs/event")
		})
	}
}

// BenchmarkRead asks a store of a million events of ten tenants, and of a day of minutes of 100 series of a metric.
func BenchmarkRead(b *testing.B) {
	server := pgtest.Start(b, pgtest.Options{})
	db := open(b, server.Database(b), nil)
	l := newLoad(0)
	var some []event.Stored
	for range 100 {
		c := l.commit(10_000, 0)
		some = append(some, c.Events[17])
		l.into(b, db, c)
	}
	begin := time.Now().UTC().Truncate(24 * time.Hour)
	for minute := range 24 * 60 {
		c := &store.Commit{To: store.Offset{Incarnation: "one"}}
		for s := range 100 {
			var a series.Agg
			for n := range 5 {
				a.Add(series.Observation{At: begin, Value: float64(n * s), Numeric: true})
			}
			c.Rollups = append(c.Rollups, series.Rollup{Tenant: l.tenant(1), Metric: 1, Labels: series.Labels{fmt.Sprint(s / 10), fmt.Sprint(s % 10)}, Step: time.Minute,
				Start: begin.Add(time.Duration(minute) * time.Minute), Agg: a})
		}
		l.into(b, db, c)
	}
	if _, err := db.Events().Compact(b.Context()); err != nil {
		b.Fatal(err)
	}
	if err := db.Analyze(b.Context()); err != nil {
		b.Fatal(err)
	}
	ctx, owner, e := b.Context(), l.tenant(1), db.Events()
	middle := some[len(some)/2]
	nothing := func(*event.Stored) error { return nil }
	day := store.RollupQuery{Metric: 1, Step: time.Minute, From: begin, To: begin.Add(24 * time.Hour)}
	for _, ask := range []struct {
		name string
		do   func(i int) error
	}{
		{"newest_100", func(int) error { _, err := e.Page(ctx, owner, store.Page{Limit: 100}); return err }},
		{"newest_100_of_a_type", func(int) error {
			_, err := e.Page(ctx, owner, store.Page{EventFilter: store.EventFilter{Types: []string{"charge.type7"}}, Limit: 100})
			return err
		}},
		{"page_in_the_middle", func(int) error {
			_, err := e.Page(ctx, owner, store.Page{After: &store.Cursor{Time: middle.Time, Position: middle.Position}, Limit: 100})
			return err
		}},
		{"event_by_source_and_id", func(i int) error {
			ev := &some[i%len(some)]
			_, err := e.Event(ctx, ev.Tenant, ev.Source, ev.ID)
			return err
		}},
		{"scan_10000_behind_a_position", func(int) error {
			return e.Scan(ctx, owner, store.Scan{After: event.Position{Seq: middle.Seq}, Limit: 10_000}, nothing)
		}},
		{"scan_of_ten_seconds", func(int) error {
			return e.Scan(ctx, owner, store.Scan{EventFilter: store.EventFilter{From: middle.Time, To: middle.Time.Add(10 * time.Second)}}, nothing)
		}},
		{"identities_of_a_million", func(int) error {
			return e.Identities(ctx, 0, begin.Add(-time.Hour), func(store.Identity) error { return nil })
		}},
		{"day_of_100_series_into_one_line", func(int) error {
			q := day
			q.Scalars = true
			return e.Rollups(ctx, owner, q, func(*series.Rollup) error { return nil })
		}},
		{"day_of_100_series_by_label_in_ten_minutes", func(int) error {
			q := day
			q.Scalars, q.GroupBy, q.Bucket = true, []int{0}, 10*time.Minute
			return e.Rollups(ctx, owner, q, func(*series.Rollup) error { return nil })
		}},
		{"day_of_100_series_with_quantiles_into_one_line", func(int) error {
			return e.Rollups(ctx, owner, day, func(*series.Rollup) error { return nil })
		}},
	} {
		b.Run(ask.name, func(b *testing.B) {
			for i := 0; b.Loop(); i++ {
				if err := ask.do(i); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
