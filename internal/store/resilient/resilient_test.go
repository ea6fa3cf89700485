package resilient_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/internal/alert"
	"github.com/pulsestream/pulsestream/internal/event"
	"github.com/pulsestream/pulsestream/internal/series"
	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/store/duckdb"
	"github.com/pulsestream/pulsestream/internal/store/resilient"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

// breaking is a real store whose calls fail as after a fault of the disk while broken is set: at once, or after they have given something.
type breaking struct {
	store.Events
	broken *atomic.Bool
	late   bool
}

func (b breaking) fail() error {
	if b.broken.Load() && !b.late {
		return fmt.Errorf("%w: injected", store.ErrBroken)
	}
	return nil
}

func (b breaking) Commit(ctx context.Context, c *store.Commit) (store.Offset, error) {
	if err := b.fail(); err != nil {
		return store.Offset{}, err
	}
	return b.Events.Commit(ctx, c)
}

func (b breaking) Page(ctx context.Context, t tenant.ID, p store.Page) ([]event.Stored, error) {
	if err := b.fail(); err != nil {
		return nil, err
	}
	return b.Events.Page(ctx, t, p)
}

func (b breaking) Scan(ctx context.Context, t tenant.ID, s store.Scan, each func(*event.Stored) error) error {
	if err := b.fail(); err != nil {
		return err
	}
	err := b.Events.Scan(ctx, t, s, each)
	if b.late && b.broken.Load() {
		return fmt.Errorf("%w: injected", store.ErrBroken)
	}
	return err
}

func (b breaking) Rollups(ctx context.Context, t tenant.ID, q store.RollupQuery, each func(*series.Rollup) error) error {
	if err := b.fail(); err != nil {
		return err
	}
	return b.Events.Rollups(ctx, t, q, each)
}

// rig is a store of three events that can be broken, and whose opening can be held up.
type rig struct {
	*resilient.Store
	broken atomic.Bool
	late   bool
	opens  atomic.Int32
	hold   chan struct{} // closed: opening goes on
	at     store.Offset
}

func newRig(t *testing.T, wait time.Duration) *rig {
	t.Helper()
	r := &rig{hold: make(chan struct{})}
	path := filepath.Join(t.TempDir(), "events.duckdb")
	var err error
	r.Store, err = resilient.Open(t.Context(), resilient.Config{
		Log: slog.New(slog.DiscardHandler), Now: time.Now, Retry: time.Millisecond, Wait: wait,
		Open: func(ctx context.Context) (store.Events, error) {
			if r.opens.Add(1) > 1 {
				<-r.hold
				r.broken.Store(false)
			}
			s, err := duckdb.Open(ctx, duckdb.Config{Path: path, CompactEvery: -1})
			if err != nil {
				return nil, err
			}
			return breaking{s, &r.broken, r.late}, nil
		},
		SetAside: func(now time.Time) (string, error) { return duckdb.SetAside(path, now) },
		Seed:     func(context.Context, store.Events) error { return nil },
		Marker:   path + ".rebuilding",
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	c := &store.Commit{To: store.Offset{Incarnation: "one", Seq: 1}}
	now := time.Now()
	for i := range 3 {
		c.Events = append(c.Events, event.Stored{Tenant: "t", Position: event.Position{Seq: 1, Index: uint32(i)},
			Event: event.Event{ID: fmt.Sprint(i), Source: "s", Type: "a", Time: now, Received: now, Identified: true}})
	}
	if r.at, err = r.Commit(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	return r
}

func TestReadsWaitForAStoreThatIsOpenedAgain(t *testing.T) {
	r := newRig(t, time.Minute)
	r.broken.Store(true)
	answers := make(chan error, 3)
	ask := func(f func() (int, error)) {
		go func() {
			n, err := f()
			if err == nil && n != 3 {
				err = fmt.Errorf("%d events", n)
			}
			answers <- err
		}()
	}
	ask(func() (int, error) {
		all, err := r.Page(t.Context(), "t", store.Page{Limit: 10})
		return len(all), err
	})
	ask(func() (n int, err error) {
		return n, r.Scan(t.Context(), "t", store.Scan{}, func(*event.Stored) error { n++; return nil })
	})
	ask(func() (n int, err error) {
		err = r.Scan(t.Context(), "t", store.Scan{}, func(*event.Stored) error { n++; return nil })
		return n, err
	})
	for r.opens.Load() < 2 {
		select {
		case err := <-answers:
			t.Fatalf("answered before the store was open again: %v", err)
		case <-time.After(time.Millisecond):
		}
	}
	if !r.Broken() {
		t.Error("it does not say that there is no store")
	}
	close(r.hold)
	for range 3 {
		if err := <-answers; err != nil {
			t.Error(err)
		}
	}
}

func TestACallGivesUpWhenItsTimeIsOver(t *testing.T) {
	r := newRig(t, 20*time.Millisecond)
	r.broken.Store(true)
	if _, err := r.Page(t.Context(), "t", store.Page{Limit: 10}); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("after the store's bound: %v", err)
	}
	if _, err := r.Commit(t.Context(), &store.Commit{From: r.at, To: r.at}); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("a commit: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := r.Page(ctx, "t", store.Page{Limit: 10}); !errors.Is(err, context.Canceled) {
		t.Errorf("after the caller's: %v", err)
	}
	close(r.hold)
}

func TestACommitIsNotMadeTwice(t *testing.T) {
	r := newRig(t, time.Minute)
	close(r.hold)
	r.broken.Store(true)
	c := &store.Commit{From: r.at, To: store.Offset{Incarnation: "one", Seq: 2}}
	if _, err := r.Commit(t.Context(), c); !errors.Is(err, store.ErrUnavailable) || !errors.Is(err, store.ErrBroken) {
		t.Errorf("of a commit that broke off it says %v", err)
	}
	if _, err := r.Commit(t.Context(), c); err != nil { // which waits
		t.Error(err)
	}
}

func TestWhatWasGivenToACallbackIsNotGivenAgain(t *testing.T) {
	r := newRig(t, time.Minute)
	r.late = true
	close(r.hold)
	r.broken.Store(true)
	if _, err := r.Page(t.Context(), "t", store.Page{Limit: 10}); err != nil { // opens one that breaks late
		t.Fatal(err)
	}
	r.broken.Store(true)
	n := 0
	err := r.Scan(t.Context(), "t", store.Scan{}, func(*event.Stored) error { n++; return nil })
	if n != 3 || !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("%d events were given, then %v", n, err)
	}
	r.broken.Store(true)
	empty := store.EventFilter{Types: []string{"none"}}
	if err := r.Scan(t.Context(), "t", store.Scan{EventFilter: empty}, func(*event.Stored) error { n++; return nil }); err != nil || n != 3 {
		t.Errorf("with nothing given yet: %d, %v", n, err)
	}
}

func TestAFullDiskBreaksNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "events.duckdb")
	var full atomic.Bool
	opens := 0
	r, err := resilient.Open(t.Context(), resilient.Config{Log: slog.New(slog.DiscardHandler), Now: time.Now,
		Open: func(ctx context.Context) (store.Events, error) {
			opens++
			return duckdb.Open(ctx, duckdb.Config{Path: path, CompactEvery: -1, Disk: func() (free, size uint64, err error) {
				if full.Load() {
					return 0, 1 << 40, nil
				}
				return 1 << 40, 1 << 40, nil
			}})
		}})
	if err != nil {
		t.Fatal(err)
	}
	full.Store(true)
	urgent := &store.Commit{Transitions: []alert.Transition{{ID: "t", Tenant: "acme", Incident: "i", Kind: alert.PhaseFiring}}} // has to be on disk at once
	if _, err := r.Commit(t.Context(), urgent); !errors.Is(err, store.ErrFull) || errors.Is(err, store.ErrUnavailable) {
		t.Errorf("a commit on a full disk: %v", err)
	}
	if _, err := r.Partition(t.Context(), 0); err != nil || opens != 1 {
		t.Errorf("a read on a full disk: %v; opened %d times", err, opens)
	}
	full.Store(false)
	if _, err := r.Commit(t.Context(), urgent); err != nil {
		t.Error(err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
}
