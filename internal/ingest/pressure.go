package ingest

import (
	"fmt"
	"sync"
	"time"
)

// Load is what back-pressure is decided by, at one moment.
type Load struct {
	// Backlog is how many bytes of the log are not in the store yet, and Rate how many bytes a second the workers take off it.
	Backlog uint64
	Rate    float64
	// Free and Size are bytes of the disk that the log is on.
	Free, Size uint64
}

const (
	// maxDrain is how long the workers may take for what ingest has put on top of the backlog: the server is itself again that soon
	// after an overload ends.
	maxDrain = 5 * time.Second
	// minBacklog is never too much.
	minBacklog = 32 << 20
	// lowDisk and reserveMost bound the free space below which nothing is taken: a twentieth of the disk, at most 1 GiB. The
	// stores need some to go on.
	lowDisk     = 20
	reserveMost = 1 << 30
)

// Pressure decides whether events can be taken. A backlog that was there before (after a restart, or while the store is rebuilt) doesn't
// count: only what ingest adds to it does. The zero value is ready.
type Pressure struct {
	mu      sync.Mutex
	floor   uint64 // the least backlog since it was last empty
	known   bool
	reason  error
	lowDisk bool
	allowed uint64
	added   uint64
}

// Update takes the load of the moment.
func (p *Pressure) Update(l Load) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.known || l.Backlog < p.floor {
		p.floor, p.known = l.Backlog, true
	}
	p.allowed, p.added = max(uint64(l.Rate*maxDrain.Seconds()), minBacklog), l.Backlog-p.floor
	p.reason = p.decide(l)
}

func (p *Pressure) decide(l Load) error {
	reserve := min(l.Size/lowDisk, reserveMost)
	if p.lowDisk {
		reserve += reserve / 2 // so that it does not open and close by the second
	}
	if p.lowDisk = l.Size > 0 && l.Free < reserve; p.lowDisk {
		return fmt.Errorf("the disk is nearly full, %d MiB are free: make room, and it goes on by itself", l.Free>>20)
	}
	if p.added > 2*p.allowed {
		return fmt.Errorf("%d MiB wait to be processed", p.added>>20)
	}
	return nil
}

// Restart says that the backlog is another one now, none of which ingest has added.
func (p *Pressure) Restart() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.known = false
}

// Allowed is how many bytes of the log ingest may have added to the backlog. It is shared by tenants; beyond twice as many, Err refuses
// everybody.
func (p *Pressure) Allowed() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.allowed
}

// Err says why events can't be taken now, or nil.
func (p *Pressure) Err() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.reason
}
