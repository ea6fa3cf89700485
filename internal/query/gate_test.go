package query

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pulsestream/pulsestream/internal/event"
	"github.com/pulsestream/pulsestream/internal/metric"
	"github.com/pulsestream/pulsestream/internal/series"
	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

// readers are questions at a gate, in the order in which they begin to read.
type readers struct {
	gate  gate
	order []string
	ends  map[string]chan struct{}
}

// ask begins a question, which reads until it is ended, and gives what it was told.
func (r *readers) ask(ctx context.Context, t tenant.ID, name string) <-chan error {
	if r.ends == nil {
		r.ends = map[string]chan struct{}{}
	}
	end, told := make(chan struct{}), make(chan error, 1)
	r.ends[name] = end
	go func() {
		err := r.gate.enter(ctx, t, 4, 10*time.Second)
		told <- err
		if err == nil {
			r.order = append(r.order, name)
			<-end
			r.gate.leave(t, 4)
		}
	}()
	synctest.Wait()
	return told
}

func (r *readers) end(name string) {
	close(r.ends[name])
	synctest.Wait()
}

func TestQuestionsThatReadEventsTakeTurnsByTenant(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r readers
		for _, name := range []string{"a1", "a2", "a3", "a4"} { // half of the four turns are one tenant's at most
			r.ask(t.Context(), "a", name)
		}
		for _, name := range []string{"b1", "c1"} {
			r.ask(t.Context(), tenant.ID(name[:1]), name)
		}
		for _, name := range []string{"c2", "d1"} {
			r.ask(t.Context(), tenant.ID(name[:1]), name)
		}
		began := func(want ...string) {
			t.Helper()
			if !slices.Equal(r.order, want) {
				t.Fatalf("%v have begun, want %v", r.order, want)
			}
		}
		began("a1", "a2", "b1", "c1")
		r.end("b1") // of those that wait, the tenant with the fewest comes first
		began("a1", "a2", "b1", "c1", "d1")
		r.end("a1")
		began("a1", "a2", "b1", "c1", "d1", "a3")
		r.end("d1")
		began("a1", "a2", "b1", "c1", "d1", "a3", "c2")
		r.end("c1") // a has its half
		began("a1", "a2", "b1", "c1", "d1", "a3", "c2")
		r.end("a2")
		began("a1", "a2", "b1", "c1", "d1", "a3", "c2", "a4")
		for _, name := range []string{"a3", "c2", "a4"} {
			r.end(name)
		}
		if r.gate.total != 0 || len(r.gate.reading) != 0 || len(r.gate.waiting) != 0 {
			t.Errorf("when all have left: %+v", &r.gate)
		}
	})
}

func TestAQuestionThatGetsNoTurnIsToldSoAndOneWhoseAskerHasGoneLeavesTheRow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r readers
		r.ask(t.Context(), "a", "first")
		r.ask(t.Context(), "a", "second")
		ctx, cancel := context.WithCancel(t.Context())
		gone, late := r.ask(ctx, "a", "gone"), r.ask(t.Context(), "a", "late")
		cancel()
		if err := <-gone; !errors.Is(err, context.Canceled) {
			t.Errorf("gone: %v", err)
		}
		began := time.Now()
		if err := <-late; !errors.Is(err, ErrBusy) || time.Since(began) != 10*time.Second {
			t.Errorf("late: %v after %s", err, time.Since(began))
		}
		if got := r.gate.stats(); got != (EngineStats{Reading: 2, Refused: 1}) {
			t.Errorf("%+v", got)
		}
		last := r.ask(t.Context(), "a", "last")
		r.end("first")
		if err := <-last; err != nil {
			t.Errorf("the last: %v", err)
		}
		r.end("second")
		r.end("last")
		if r.gate.total != 0 || len(r.gate.waiting) != 0 {
			t.Errorf("when all have left: %+v", &r.gate)
		}
	})
}

// stuck is a store that reads events until it is told to end, and answers from rollups at once.
type stuck struct{ end chan struct{} }

func (s *stuck) Rollups(context.Context, tenant.ID, store.RollupQuery, func(*series.Rollup) error) error {
	return nil
}

func (s *stuck) Scan(ctx context.Context, _ tenant.ID, _ store.Scan, _ func(*event.Stored) error) error {
	select {
	case <-s.end:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *stuck) Page(context.Context, tenant.ID, store.Page) ([]event.Stored, error) { return nil, nil }

func TestWhenTooManyReadEventsOthersAreToldAndRollupsAnswerStill(t *testing.T) {
	program := compile(t, metric.Definition{ID: 1, Slug: "visits", EventTypes: []string{"visit"}})
	synctest.Test(t, func(t *testing.T) {
		s := &stuck{end: make(chan struct{})}
		e := &Engine{Events: s}
		ask := func(from, step string) error {
			q, errs := Parse(values("from="+from+"&to=2026-03-04T11:00:00Z&step="+step), program.Definition(), at("2026-03-04T12:00:00Z"))
			if errs != nil {
				t.Fatal(errs)
			}
			_, err := e.Run(t.Context(), acme, program, q)
			return err
		}
		half := share(mostReading())
		read := make(chan error, half)
		for range half {
			go func() { read <- ask("2026-03-04T10:00:00Z", "10s") }()
		}
		synctest.Wait()
		began := time.Now()
		if err := ask("2026-03-04T10:00:00Z", "10s"); !errors.Is(err, ErrBusy) || time.Since(began) != patience {
			t.Errorf("one more: %v after %s", err, time.Since(began))
		}
		began = time.Now()
		if err := ask("2026-03-04T10:00:00Z", "1m"); err != nil || time.Since(began) != 0 {
			t.Errorf("from rollups: %v after %s", err, time.Since(began))
		}
		close(s.end)
		for range half {
			if err := <-read; err != nil {
				t.Error(err)
			}
		}
		if err := ask("2026-03-04T10:00:00Z", "10s"); err != nil || e.reading.total != 0 {
			t.Errorf("afterwards: %v, and %d read", err, e.reading.total)
		}
	})
}

// wide is a store of events of many steps. While it reads them for the first time others take all turns that are left, and more wait.
type wide struct {
	stuck
	engine *Engine
	reads  int
}

func (w *wide) Scan(_ context.Context, _ tenant.ID, scan store.Scan, each func(*event.Stored) error) error {
	if w.reads++; w.reads == 1 {
		for i := range 3 * mostReading() {
			w.engine.reading.ask(tenant.ID(fmt.Sprint("other", i)), mostReading())
		}
	}
	for i := range 100 {
		ev := event.Stored{Event: event.Event{Type: "visit", Time: scan.From.Add(time.Duration(i) * 10 * time.Second)}}
		if !ev.Time.Before(scan.To) {
			break
		}
		if err := each(&ev); err != nil {
			return err
		}
	}
	return nil
}

func TestAQuestionThatReadsSeveralTimesKeepsItsTurn(t *testing.T) {
	program := compile(t, metric.Definition{ID: 1, Slug: "visits", EventTypes: []string{"visit"}})
	synctest.Test(t, func(t *testing.T) {
		w := &wide{}
		w.engine = &Engine{Events: w, limits: &limits{points: 1e6, scanned: 1e6, rawGroups: 1000, scalars: 5, sketches: 5, kept: 1000}}
		q, errs := Parse(values("from=2026-03-04T10:00:00Z&to=2026-03-04T11:00:00Z&step=10s"), program.Definition(), at("2026-03-04T12:00:00Z"))
		if errs != nil {
			t.Fatal(errs)
		}
		if _, err := w.engine.Run(t.Context(), acme, program, q); err != nil || w.reads < 3 {
			t.Errorf("%v after %d reads", err, w.reads)
		}
		if g := &w.engine.reading; g.reading[acme] != 0 || g.total != mostReading() || len(g.waiting) != 2*mostReading() {
			t.Errorf("afterwards %d read, %d of them its own, and %d wait", g.total, g.reading[acme], len(g.waiting))
		}
	})
}
