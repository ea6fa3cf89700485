package query

import (
	"context"
	"errors"
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
		err := r.gate.enter(ctx, t, 2, 10*time.Second)
		told <- err
		if err == nil {
			r.order = append(r.order, name)
			<-end
			r.gate.leave(t)
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
		for _, name := range []string{"a1", "a2", "a3", "a4", "a5"} {
			r.ask(t.Context(), "a", name)
		}
		r.ask(t.Context(), "b", "b1")
		r.ask(t.Context(), "b", "b2")
		for _, name := range []string{"a1", "a2", "b1", "a3", "b2", "a4", "a5"} {
			r.end(name)
		}
		if want := []string{"a1", "a2", "b1", "a3", "b2", "a4", "a5"}; !slices.Equal(r.order, want) {
			t.Errorf("%v, want %v", r.order, want)
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
		gone, late := r.ask(ctx, "a", "gone"), r.ask(t.Context(), "b", "late")
		cancel()
		if err := <-gone; !errors.Is(err, context.Canceled) {
			t.Errorf("gone: %v", err)
		}
		began := time.Now()
		if err := <-late; !errors.Is(err, ErrBusy) || time.Since(began) != 10*time.Second {
			t.Errorf("late: %v after %s", err, time.Since(began))
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
		read := make(chan error, mostReading())
		for range mostReading() {
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
		for range mostReading() {
			if err := <-read; err != nil {
				t.Error(err)
			}
		}
		if err := ask("2026-03-04T10:00:00Z", "10s"); err != nil {
			t.Errorf("afterwards: %v", err)
		}
	})
}
