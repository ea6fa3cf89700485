package resilient_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/internal/event"
	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/store/duckdb"
	"github.com/pulsestream/pulsestream/internal/store/resilient"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

// rotten is a real store that is found damaged at the next page that is asked for.
type rotten struct {
	store.Events
	damaged *atomic.Bool
}

func (r rotten) Page(ctx context.Context, t tenant.ID, p store.Page) ([]event.Stored, error) {
	if r.damaged.CompareAndSwap(true, false) {
		return nil, fmt.Errorf("%w: injected", store.ErrDamaged)
	}
	return r.Events.Page(ctx, t, p)
}

// replaceable is where stores are opened that may be replaced.
type replaceable struct {
	path    string
	damaged atomic.Bool
	seed    func() error
	aside   atomic.Int32
	seeded  atomic.Int32
}

func (p *replaceable) open(t *testing.T) *resilient.Store {
	t.Helper()
	s, err := resilient.Open(t.Context(), resilient.Config{
		Log: slog.New(slog.DiscardHandler), Now: time.Now, Retry: time.Millisecond, Wait: time.Minute, Marker: p.path + ".rebuilding",
		Open: func(ctx context.Context) (store.Events, error) {
			s, err := duckdb.Open(ctx, duckdb.Config{Path: p.path, CompactEvery: -1})
			if err != nil {
				return nil, err
			}
			return rotten{s, &p.damaged}, nil
		},
		SetAside: func(now time.Time) (string, error) {
			p.aside.Add(1)
			return duckdb.SetAside(p.path, now)
		},
		Seed: func(context.Context, store.Events) error {
			p.seeded.Add(1)
			return p.seed()
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestWhoAskedBeforeDamageWasFoundIsNotAnsweredFromTheEmptyStore(t *testing.T) {
	p := &replaceable{path: filepath.Join(t.TempDir(), "events.duckdb"), seed: func() error { return nil }}
	s := p.open(t)
	p.damaged.Store(true)
	if events, err := s.Page(t.Context(), "t", store.Page{Limit: 10}); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("got %v, %v: that lacks everything and says nothing of it", events, err)
	}
	// Who asks now can know that it is being rebuilt.
	if _, err := s.Page(t.Context(), "t", store.Page{Limit: 10}); err != nil {
		t.Error(err)
	}
	if s.Rebuilding() == nil {
		t.Error("the store does not say that it is being rebuilt")
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}

	s = p.open(t)
	if r := s.Rebuilding(); r == nil || r.SetAside == "" || r.Reason == "" {
		t.Errorf("after a restart the store says of its rebuilding: %+v", r)
	}
	s.Rebuilt()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = p.open(t)
	if r := s.Rebuilding(); r != nil {
		t.Errorf("a complete store says %+v", r)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if p.aside.Load() != 1 || p.seeded.Load() != 2 {
		t.Errorf("set aside %d times, seeded %d times: want once, and at each start that finds it incomplete", p.aside.Load(), p.seeded.Load())
	}
}

func TestAStoreThatCannotBeSeededYetIsNotSetAsideAgain(t *testing.T) {
	tries := 0
	p := &replaceable{path: filepath.Join(t.TempDir(), "events.duckdb")}
	p.seed = func() error {
		if tries++; tries < 5 {
			return store.ErrFull
		}
		return nil
	}
	s := p.open(t)
	p.damaged.Store(true)
	if _, err := s.Page(t.Context(), "t", store.Page{Limit: 10}); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("got %v", err)
	}
	if _, err := s.Page(t.Context(), "t", store.Page{Limit: 10}); err != nil {
		t.Error(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if p.aside.Load() != 1 || tries != 5 {
		t.Errorf("set aside %d times in %d tries to seed", p.aside.Load(), tries)
	}
	if _, err := os.Stat(p.path + ".rebuilding"); err != nil {
		t.Errorf("the next start cannot know that the store is not complete: %v", err)
	}
}
