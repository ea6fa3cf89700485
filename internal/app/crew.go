package app

import (
	"errors"
	"sync"

	"github.com/pulsestream/pulsestream/internal/process"
	"github.com/pulsestream/pulsestream/internal/store"
)

// crew is the workers that run in this process.
type crew struct {
	mu      sync.Mutex
	workers map[int]*process.Worker // by partition
}

func (c *crew) join(p int, w *process.Worker) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.workers == nil {
		c.workers = map[int]*process.Worker{}
	}
	c.workers[p] = w
}

func (c *crew) leave(p int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.workers, p)
}

// refresh tells them that definitions may have changed.
func (c *crew) refresh() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, w := range c.workers {
		w.Refresh()
	}
}

// Why what was taken is not processed, as everybody may hear it; the log has the rest.
var (
	errNoRoom    = errors.New("the disk has no room for the store of events")
	errNoCommits = errors.New("the store of events refuses commits, for no fault of the events: the server's log says why")
)

// stalled says why a worker cannot go on, or nil.
func (c *crew) stalled() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, w := range c.workers {
		switch err := w.Stalled(); {
		case errors.Is(err, store.ErrFull):
			return errNoRoom
		case err != nil:
			return errNoCommits
		}
	}
	return nil
}
