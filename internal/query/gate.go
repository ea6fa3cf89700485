package query

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/pulsestream/pulsestream/internal/tenant"
)

// ErrBusy says that a question did not get its turn to read events.
var ErrBusy = errors.New("too many questions read events at the moment: ask again in a moment, or for a step of whole minutes, which is not read from events")

// How long a question waits for its turn: one whose asker does nothing else meanwhile, and one on a connection on which others wait behind it.
const (
	patience      = 10 * time.Second
	shortPatience = 2 * time.Second
)

// mostReading is how many questions of an Engine read events at the same time: one computes while another waits for the disk.
func mostReading() int { return 2 * runtime.GOMAXPROCS(0) }

// share is how many of so many a tenant may have at the same time: others are not to wait for one whose questions take long.
func share(most int) int { return max(1, most/2) }

// gate bounds how many questions read events at the same time. With more than the processors can serve all of them become slower and hold memory, until each takes
// longer than it may and none is answered. Those that wait go by how many their tenant has reading, and then in the order in which they came. The zero gate is ready.
type gate struct {
	mu      sync.Mutex
	reading map[tenant.ID]int
	total   int
	waiting []*waiter
	refused uint64
}

// EngineStats is about questions that read more than a minute of events.
type EngineStats struct {
	Reading, Waiting int
	Refused          uint64 // ErrBusy, since the start
}

func (g *gate) stats() EngineStats {
	g.mu.Lock()
	defer g.mu.Unlock()
	return EngineStats{g.total, len(g.waiting), g.refused}
}

type waiter struct {
	tenant tenant.ID
	turn   chan struct{} // closed when it has come
}

// enter waits until the question may read, at most for patience: ErrBusy. After nil it must leave.
func (g *gate) enter(ctx context.Context, t tenant.ID, most int, patience time.Duration) error {
	w, free := g.ask(t, most)
	if free {
		return nil
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	err := ErrBusy
	select {
	case <-w.turn:
		return nil
	case <-timer.C:
	case <-ctx.Done():
		err = ctx.Err()
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if i := slices.Index(g.waiting, w); i >= 0 {
		g.waiting = slices.Delete(g.waiting, i, i+1)
		if errors.Is(err, ErrBusy) {
			g.refused++
		}
		return err
	}
	if errors.Is(err, ErrBusy) {
		return nil // its turn came at the last moment
	}
	g.pass(t, most)
	return err
}

func (g *gate) ask(t tenant.ID, most int) (w *waiter, free bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.total < most && g.reading[t] < share(most) {
		g.begin(t)
		return nil, true
	}
	w = &waiter{t, make(chan struct{})}
	g.waiting = append(g.waiting, w)
	return w, false
}

func (g *gate) leave(t tenant.ID, most int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.pass(t, most)
}

func (g *gate) begin(t tenant.ID) {
	if g.reading == nil {
		g.reading = map[tenant.ID]int{}
	}
	g.reading[t]++
	g.total++
}

// pass ends a question's reading, and has the next one begin that may.
func (g *gate) pass(t tenant.ID, most int) {
	if g.reading[t]--; g.reading[t] == 0 {
		delete(g.reading, t)
	}
	g.total--
	if len(g.waiting) == 0 {
		return
	}
	next := 0
	for i, w := range g.waiting {
		if g.reading[w.tenant] < g.reading[g.waiting[next].tenant] {
			next = i
		}
	}
	w := g.waiting[next]
	if g.reading[w.tenant] >= share(most) {
		return
	}
	g.waiting = slices.Delete(g.waiting, next, next+1)
	g.begin(w.tenant)
	close(w.turn)
}
