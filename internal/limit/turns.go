package limit

import (
	"context"
	"sync"

	"github.com/pulsestream/pulsestream/internal/tenant"
)

// Turns lets so many do something at a time, and has the others wait; tenants take turns. It is for work that keeps a processor
// busy: how much of it there is at once decides how long everything else waits for a processor.
type Turns struct {
	mu      sync.Mutex
	free    int
	waiting Queue[chan struct{}]
}

// NewTurns makes turns for so many at a time.
func NewTurns(atOnce int) *Turns { return &Turns{free: atOnce} }

// Begin waits for a turn. Without an error, End has to follow.
func (q *Turns) Begin(ctx context.Context, t tenant.ID) error {
	q.mu.Lock()
	if q.free > 0 {
		q.free--
		q.mu.Unlock()
		return nil
	}
	turn := make(chan struct{})
	q.waiting.Push(t, turn)
	q.mu.Unlock()
	select {
	case <-turn:
		return nil
	case <-ctx.Done():
	}
	q.mu.Lock()
	gone := q.waiting.Remove(t, func(c chan struct{}) bool { return c == turn })
	q.mu.Unlock()
	if !gone { // it was given just now
		q.End()
	}
	return ctx.Err()
}

// End gives the turn to the next.
func (q *Turns) End() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if next, ok := q.waiting.Pop(); ok {
		close(next)
		return
	}
	q.free++
}
