package duckdb

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/internal/alert"
	"github.com/pulsestream/pulsestream/internal/event"
	"github.com/pulsestream/pulsestream/internal/series"
	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

// counted is a commit of partition p of n events, of which a rollup says how many they are.
func counted(p int, from store.Offset, n int) *store.Commit {
	c := &store.Commit{Partition: p, From: from, To: store.Offset{Incarnation: "one", Seq: from.Seq + 1}}
	owner := tenant.ID(fmt.Sprint("tenant-", p))
	at := time.Unix(1_800_000_000, 0).UTC().Add(time.Duration(from.Seq) * time.Second)
	var a series.Agg
	for i := range n {
		c.Events = append(c.Events, event.Stored{Tenant: owner, Partition: p, Position: event.Position{Seq: c.To.Seq, Index: uint32(i)}, Event: event.Event{
			ID: fmt.Sprint(c.To.Seq, "-", i), Source: "s", Type: fmt.Sprint("type-", i%3), Subject: fmt.Sprint(i % 7), Time: at, Received: at, Identified: true,
			Data: fmt.Appendf(nil, `{"seq":%d,"i":%d}`, c.To.Seq, i),
		}})
		a.Add(series.Observation{At: at, Value: float64(i), Numeric: true, Distinct: uint64(i) * 0x9e3779b97f4a7c15, HasDistinct: true})
	}
	c.Rollups = []series.Rollup{{Tenant: owner, Metric: 1, Labels: series.Labels{"x"}, Step: time.Minute, Start: series.Align(at, time.Minute), Agg: a}}
	c.States = []alert.State{{Tenant: owner, RuleID: 1, Phase: alert.PhaseFiring, Value: float64(c.To.Seq)}}
	c.Fills = []store.Fill{{Tenant: owner, Partition: p, Metric: 1, Done: event.Position{Seq: c.To.Seq}}}
	return c
}

// quiet is a store that flushes only when it is told to: its clock stands, and its disk is large.
func quiet(path string) Config {
	now := time.Unix(1_800_000_000, 0)
	return Config{Path: path, CompactEvery: -1, Now: func() time.Time { return now }, Disk: func() (uint64, uint64, error) { return 1 << 40, 1 << 40, nil }}
}

// reader reads all there is of a partition's tenant.
type reader struct {
	t     testing.TB
	s     *Store
	p     int
	owner tenant.ID
}

func newReader(t testing.TB, s *Store, p int) *reader {
	return &reader{t, s, p, tenant.ID(fmt.Sprint("tenant-", p))}
}

func (r *reader) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Error(err)
	}
}

func (r *reader) rollups(step time.Duration) (n int) {
	r.t.Helper()
	r.must(r.s.Rollups(r.t.Context(), r.owner, store.RollupQuery{Metric: 1, Step: step}, func(u *series.Rollup) error { n += int(u.Agg.Count); return nil }))
	return n
}

// scan counts the events, which must be those of the first commits, each once.
func (r *reader) scan(each int) (n int) {
	r.t.Helper()
	r.must(r.s.Scan(r.t.Context(), r.owner, store.Scan{}, func(ev *event.Stored) error {
		if want := (event.Position{Seq: uint64(1 + n/each), Index: uint32(n % each)}); ev.Position != want {
			return fmt.Errorf("event %d is at %+v, want %+v", n, ev.Position, want)
		}
		n++
		return nil
	}))
	return n
}

func (r *reader) page() (newest int) {
	r.t.Helper()
	page, err := r.s.Page(r.t.Context(), r.owner, store.Page{Limit: 7})
	r.must(err)
	for i := 1; i < len(page); i++ {
		if !page[i].Before(page[i-1].Position) {
			r.t.Errorf("event %d of a page is at %+v, the one before at %+v", i, page[i].Position, page[i-1].Position)
		}
	}
	if len(page) == 0 {
		return 0
	}
	return int(page[0].Seq)
}

// What is counted only grows, by whole commits, and never is there twice or not at all, wherever it is on its way from memory to disk.
func TestReadersSeeCommitsExactlyOnceWhileTheyAreFlushed(t *testing.T) {
	const partitions, commits, each = 2, 150, 20
	s, err := Open(t.Context(), Config{Path: filepath.Join(t.TempDir(), "events.duckdb"), CompactEvery: -1})
	if err != nil {
		t.Fatal(err)
	}
	var working, reading sync.WaitGroup
	done := make(chan struct{})
	until := func(f func()) {
		for {
			select {
			case <-done:
				return
			default:
				f()
			}
		}
	}
	var begun, over [partitions]atomic.Int64
	for p := range partitions {
		r := newReader(t, s, p)
		working.Go(func() {
			var at store.Offset
			for range commits {
				begun[p].Add(each)
				var err error
				if at, err = s.Commit(t.Context(), counted(p, at, each)); err != nil {
					t.Error(err)
					return
				}
				over[p].Add(each)
				r.page() // so that others get their turn
			}
		})
		for name, count := range map[string]func() int{
			"Rollups of minutes": func() int { return r.rollups(time.Minute) }, "Rollups of hours": func() int { return r.rollups(time.Hour) },
			"Scan": func() int { return r.scan(each) }, "Page": func() int { return r.page() * each },
			"Identities": func() (n int) {
				r.must(s.Identities(t.Context(), p, time.Time{}, func(store.Identity) error { n++; return nil }))
				return n
			},
		} {
			reading.Go(func() {
				until(func() {
					before := over[p].Load()
					n := int64(count())
					if after := begun[p].Load(); n < before || n > after || n%each != 0 {
						t.Errorf("%s of partition %d counts %d events between %d and %d", name, p, n, before, after)
					}
				})
			})
		}
	}
	reading.Go(func() { until(func() { newReader(t, s, 0).must(s.flushNow(t.Context())) }) })
	reading.Go(func() {
		until(func() {
			if _, err := s.mergeSegments(t.Context()); err != nil {
				t.Error(err)
			}
			if _, err := s.Compact(t.Context()); err != nil {
				t.Error(err)
			}
		})
	})
	working.Wait()
	close(done)
	reading.Wait()
	for p := range partitions {
		r := newReader(t, s, p)
		if n, m := r.scan(each), r.rollups(24*time.Hour); n != commits*each || m != n {
			t.Errorf("partition %d has %d events, and rollups of %d", p, n, m)
		}
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// What was committed may be overwritten as soon as Commit has returned.
func TestACommitIsReadOnlyDuringTheCall(t *testing.T) {
	s, err := Open(t.Context(), quiet(filepath.Join(t.TempDir(), "events.duckdb")))
	if err != nil {
		t.Fatal(err)
	}
	c := counted(0, store.Offset{}, 10)
	c.Events[0].Extensions = []byte(`{"a":"b"}`)
	if _, err := s.Commit(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	for i := range c.Events {
		for j := range c.Events[i].Data {
			c.Events[i].Data[j] = 'X'
		}
		clear(c.Events[i].Extensions)
	}
	for i := range c.Rollups {
		c.Rollups[i].Labels[0] = "overwritten"
		c.Rollups[i].Agg.Add(series.Observation{At: time.Unix(0, 0), Value: 1e9, Numeric: true, Distinct: 77, HasDistinct: true})
	}
	clear(c.Events)
	clear(c.Rollups)
	clear(c.States)
	clear(c.Fills)
	for range 2 {
		r := newReader(t, s, 0)
		if n := r.scan(10); n != 10 {
			t.Errorf("%d events", n)
		}
		ev, err := s.Event(t.Context(), r.owner, "s", "1-0")
		if err != nil || string(ev.Data) != `{"seq":1,"i":0}` || string(ev.Extensions) != `{"a":"b"}` {
			t.Errorf("%s %s: %v", ev.Data, ev.Extensions, err)
		}
		r.must(s.Rollups(t.Context(), r.owner, store.RollupQuery{Metric: 1, Step: time.Minute, GroupBy: []int{0}}, func(u *series.Rollup) error {
			if u.Labels[0] != "x" || u.Agg.Count != 10 || u.Agg.Max != 9 {
				t.Errorf("%+v", u)
			}
			return nil
		}))
		p, err := s.Partition(t.Context(), 0)
		if err != nil || len(p.States) != 1 || p.States[0].Value != 1 || len(p.Fills) != 1 {
			t.Errorf("%+v: %v", p, err)
		}
		r.must(s.flushNow(t.Context()))
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func TestAnEndedContextStopsWhoWaitsForAFlush(t *testing.T) {
	s, err := Open(t.Context(), quiet(filepath.Join(t.TempDir(), "events.duckdb")))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Commit(t.Context(), counted(0, store.Offset{}, 5)); err != nil {
		t.Fatal(err)
	}
	s.flushing <- struct{}{}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.flush(ctx, 1); !errors.Is(err, context.Canceled) {
		t.Errorf("flush: %v", err)
	}
	<-s.flushing
	if n := newReader(t, s, 0).scan(5); n != 5 {
		t.Errorf("%d events", n)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}
