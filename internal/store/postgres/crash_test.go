package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/internal/event"
	"github.com/pulsestream/pulsestream/internal/series"
	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/store/postgres"
	"github.com/pulsestream/pulsestream/internal/store/postgres/pgtest"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

// worker commits a partition's log, of which each message has ten events, and begins again from the store after any error, as process does.
type worker struct {
	t         *testing.T
	db        *postgres.DB
	partition int
	done      atomic.Uint64 // the last message that it was told is stored
	errors    atomic.Int64
}

func (w *worker) owner() tenant.ID { return tenant.ID(fmt.Sprint("tenant-", w.partition)) }

func (w *worker) run(ctx context.Context) {
	for ctx.Err() == nil {
		state, err := w.db.Events().Partition(ctx, w.partition)
		for at := state.Offset; err == nil && ctx.Err() == nil; {
			if at, err = w.db.Events().Commit(context.WithoutCancel(ctx), w.message(at)); err == nil {
				w.done.Store(at.Seq)
			}
		}
		if err != nil && ctx.Err() == nil {
			w.errors.Add(1)
			if !errors.Is(err, store.ErrUnavailable) && !errors.Is(err, store.ErrFenced) {
				w.t.Errorf("partition %d: %v, want that the store is not available", w.partition, err)
				return
			}
		}
	}
}

// message is the commit of the message behind an offset.
func (w *worker) message(at store.Offset) *store.Commit {
	c := &store.Commit{Partition: w.partition, From: at, To: store.Offset{Incarnation: "one", Seq: at.Seq + 1}}
	var a series.Agg
	for i := range 10 {
		when := noon().Add(time.Duration(c.To.Seq) * time.Second)
		c.Events = append(c.Events, event.Stored{Tenant: w.owner(), Partition: w.partition, Position: event.Position{Seq: c.To.Seq, Index: uint32(i)}, Event: event.Event{
			ID: fmt.Sprint(c.To.Seq, ".", i), Source: "s", Type: "t", Time: when, Received: when, Identified: true, Data: []byte(`{}`),
		}})
		a.Add(series.Observation{At: when, Value: 1, Numeric: true})
	}
	c.Rollups = []series.Rollup{{Tenant: w.owner(), Metric: 1, Step: time.Minute, Start: series.Align(c.Events[0].Time, time.Minute), Agg: a}}
	return c
}

// check compares what is stored with what must be: every message up to the offset, once.
func (w *worker) check() {
	w.t.Helper()
	ctx := context.WithoutCancel(w.t.Context())
	state, err := w.db.Events().Partition(ctx, w.partition)
	if err != nil {
		w.t.Fatal(err)
	}
	if state.Offset.Seq < w.done.Load() || state.Offset.Revision != state.Offset.Seq {
		w.t.Errorf("partition %d is at %+v, but was told that %d is stored", w.partition, state.Offset, w.done.Load())
	}
	var n, counted uint64
	err = w.db.Events().Scan(ctx, w.owner(), store.Scan{WithoutData: true}, func(e *event.Stored) error {
		if want := (event.Position{Seq: n/10 + 1, Index: uint32(n % 10)}); e.Position != want {
			return fmt.Errorf("event %d is at %+v, want %+v", n, e.Position, want)
		}
		n++
		return nil
	})
	if err != nil {
		w.t.Error(err)
	}
	err = w.db.Events().Rollups(ctx, w.owner(), store.RollupQuery{Metric: 1, Step: 24 * time.Hour}, func(r *series.Rollup) error {
		counted += r.Agg.Count
		return nil
	})
	if err != nil || n != 10*state.Offset.Seq || counted != n {
		w.t.Errorf("partition %d is at %d and has %d events, %d counted, %v", w.partition, state.Offset.Seq, n, counted, err)
	}
}

// TestRestarts has a server of its own, which is killed in the middle of commits.
func TestRestarts(t *testing.T) {
	server := pgtest.Start(t, pgtest.Options{Settings: []string{"synchronous_commit=on"}})
	db := open(t, server.Database(t), func(c *postgres.Config) { brief(c); c.Wait = 30 * time.Second })
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var running sync.WaitGroup
	workers := make([]*worker, 3)
	for p := range workers {
		workers[p] = &worker{t: t, db: db, partition: p}
		running.Go(func() { workers[p].run(ctx) })
	}
	running.Go(func() { // compaction meets the restarts, too
		for ctx.Err() == nil {
			_, _ = db.Events().Compact(ctx)
		}
	})
	goOn := func(what string) {
		t.Helper()
		for _, w := range workers {
			from := w.done.Load()
			until(t, fmt.Sprintf("%s: partition %d goes on from %d", what, w.partition, from), func() bool { return w.done.Load() > from+5 || t.Failed() })
		}
	}
	goOn("at first")
	for round := range 3 {
		how := pgtest.Immediate
		if round == 2 {
			how = pgtest.Fast
		}
		if err := server.Restart(t.Context(), how); err != nil {
			t.Fatal(err, server.Tail())
		}
		goOn(fmt.Sprint("after restart ", round+1))
	}
	stop()
	running.Wait()
	var failed int64
	for _, w := range workers {
		w.check()
		failed += w.errors.Load()
	}
	if failed == 0 {
		t.Error("no commit met a restart")
	}
}

// TestReadsWaitForAServerThatIsAway asks in the middle of a restart.
func TestReadsWaitForAServerThatIsAway(t *testing.T) {
	server := pgtest.Start(t, pgtest.Options{})
	db := open(t, server.Database(t), func(c *postgres.Config) { brief(c); c.Wait = 30 * time.Second })
	put(t, db, "acme", "rule")
	impatient := open(t, server.Superuser("postgres"), func(c *postgres.Config) { brief(c); c.Wait = time.Millisecond })
	server.Stop(pgtest.Immediate)
	if _, err := impatient.Catalog().Get(t.Context(), "acme", store.KindRule, "rule"); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("without a server: %v, want %v", err, store.ErrUnavailable)
	}
	answer := make(chan error, 1)
	go func() {
		_, err := db.Catalog().Get(t.Context(), "acme", store.KindRule, "rule")
		answer <- err
	}()
	if err := server.Up(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-answer; err != nil {
		t.Errorf("a read that began without a server: %v", err)
	}
	// The connections that it still has are all of the server before.
	server.Stop(pgtest.Immediate)
	if err := server.Up(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Catalog().Put(t.Context(), store.Put{Tenant: "acme", Kind: store.KindRule, Slug: "new", At: noon()}); err != nil && !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("the first write after a restart: %v", err)
	}
	if _, err := db.Catalog().Get(t.Context(), "acme", store.KindRule, "rule"); err != nil {
		t.Errorf("the next read after a restart: %v", err)
	}
}
