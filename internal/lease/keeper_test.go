package lease_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/internal/lease"
)

// fleet is workers that hear each other.
type fleet struct {
	t       *testing.T
	mu      sync.Mutex
	workers map[string]*worker
	told    atomic.Int64 // beats
	overlap atomic.Int32 // how often a partition was worked on twice
	owners  [8]atomic.Int32
}

type worker struct {
	*lease.Keeper
	stop  context.CancelFunc
	ended chan struct{}
	mute  atomic.Bool
	unfit atomic.Bool
}

func (f *fleet) tell(from *worker, b []byte) {
	f.told.Add(1)
	if from.mute.Load() {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, w := range f.workers {
		if !w.mute.Load() {
			w.Hear(b)
		}
	}
}

func (f *fleet) join(name string) *worker {
	w := &worker{ended: make(chan struct{})}
	w.Keeper = lease.New(lease.Config{Name: name, Partitions: len(f.owners), Log: slog.New(slog.DiscardHandler), Now: time.Now,
		Tell: func(b []byte) error { f.tell(w, b); return nil },
		Fit: func(context.Context) error {
			if w.unfit.Load() {
				return errors.New("no store")
			}
			return nil
		},
		Run: func(ctx context.Context, p int) {
			if f.owners[p].Add(1) > 1 && !w.mute.Load() {
				f.overlap.Add(1)
			}
			<-ctx.Done()
			f.owners[p].Add(-1)
		},
	})
	f.mu.Lock()
	f.workers[name] = w
	f.mu.Unlock()
	ctx, cancel := context.WithCancel(f.t.Context())
	w.stop = cancel
	go func() {
		w.Run(ctx)
		close(w.ended)
	}()
	f.t.Cleanup(func() { cancel(); <-w.ended })
	return w
}

// settles waits until the workers hold so many each.
func (f *fleet) settles(within time.Duration, want map[string]int) {
	f.t.Helper()
	deadline := time.Now().Add(within)
	for {
		f.mu.Lock()
		got, all := map[string]int{}, []int{}
		for name := range want {
			held := f.workers[name].Held()
			got[name] = len(held)
			all = append(all, held...)
		}
		f.mu.Unlock()
		slices.Sort(all)
		if fmt.Sprint(got) == fmt.Sprint(want) && len(all) == len(f.owners) && len(slices.Compact(all)) == len(f.owners) {
			return
		}
		if time.Now().After(deadline) {
			f.t.Fatalf("after %s they hold %v, want %v", within, got, want)
		}
		<-time.After(5 * time.Millisecond)
	}
}

func TestAWorkerThatDiesIsReplacedAndOneThatJoinsGetsItsShare(t *testing.T) {
	if testing.Short() {
		t.Skip("it waits for workers to be missed: left out of -short")
	}
	f := &fleet{t: t, workers: map[string]*worker{}}
	f.join("a")
	f.settles(3*time.Second, map[string]int{"a": 8})
	b := f.join("b")
	f.settles(3*time.Second, map[string]int{"a": 4, "b": 4})
	c := f.join("c")
	f.settles(3*time.Second, map[string]int{"a": 3, "b": 3, "c": 2})
	if n := f.overlap.Load(); n > 0 {
		t.Errorf("%d times a partition was given to a worker before another had let go of it", n)
	}

	c.stop()
	<-c.ended
	began := time.Now()
	f.settles(time.Second, map[string]int{"a": 4, "b": 4})
	t.Logf("what a worker that stopped had held was taken up after %s", time.Since(began))

	b.mute.Store(true) // dead, or cut off: nobody can tell
	began = time.Now()
	f.settles(5*time.Second, map[string]int{"a": 8})
	t.Logf("what a worker that died had held was taken over after %s", time.Since(began))
	if held := b.Held(); len(held) != 4 {
		t.Errorf("one that hears nobody, not even itself, decides nothing, and yet holds %v", held)
	}
	b.mute.Store(false)
	f.settles(5*time.Second, map[string]int{"a": 4, "b": 4})

	told := f.told.Load()
	b.unfit.Store(true)
	f.settles(5*time.Second, map[string]int{"a": 8, "b": 0})
	if n := f.told.Load() - told; n > 100 {
		t.Errorf("one that cannot work had %d beats sent: they wake each other", n)
	}
	b.unfit.Store(false)
	f.settles(5*time.Second, map[string]int{"a": 4, "b": 4})
}
