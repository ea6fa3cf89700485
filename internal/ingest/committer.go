package ingest

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/pulsestream/pulsestream/internal/event"
	"github.com/pulsestream/pulsestream/internal/limit"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

// Log is the part of the bus that ingest writes to.
type Log interface {
	// Append writes one message to a partition and returns once it is on disk.
	Append(ctx context.Context, partition int, payload []byte) (seq uint64, err error)
	Partitions() int
}

// Errors of Commit; neither says anything about events that were taken earlier.
var (
	// ErrOverloaded: the log is too far behind. Try again later.
	ErrOverloaded = errors.New("too many events are waiting for the log")
	// ErrStopped: the committer was stopped.
	ErrStopped = errors.New("the server is stopping")
)

const (
	// maxPending bounds the encoded bytes that wait for one partition's log.
	maxPending = 64 << 20
	// appendTimeout bounds one append; a log that takes longer is in trouble.
	appendTimeout = 20 * time.Second
)

// Committer makes one log message, and so one fsync, of the events of all requests that arrive while the message before
// is being written. It needs no timer: under light load a request goes out alone at once, under heavy load groups grow. Where more waits
// than fits into a message, tenants take turns: a request waits for at most one of every other tenant's.
type Committer struct {
	log   Log
	most  int // bytes in a log message
	now   func() time.Time
	parts []*group
	done  sync.WaitGroup
}

// group is what waits for one partition.
type group struct {
	mu      sync.Mutex
	wake    chan struct{} // holds a token when waiting is not empty or the committer stops
	waiting limit.Queue[*request]
	bytes   int
	stopped bool
}

type request struct {
	encoded []byte
	result  chan error
}

// NewCommitter starts a committer that writes messages of at most so many bytes.
func NewCommitter(log Log, most int, now func() time.Time) *Committer {
	c := &Committer{log: log, most: most, now: now}
	for p := range log.Partitions() {
		g := &group{wake: make(chan struct{}, 1)}
		c.parts = append(c.parts, g)
		c.done.Go(func() { c.run(p, g) })
	}
	return c
}

// Commit writes events of a tenant to the log, setting their Received, and returns once they are on disk, with how many bytes they
// are. On an error some may have been written: the sender has to send all again, and those with an id are counted once all the same.
func (c *Committer) Commit(ctx context.Context, t tenant.ID, events []event.Event) (written int64, err error) {
	received := c.now().UTC()
	g := c.parts[tenant.Partition(t, len(c.parts))]
	var requests []*request
	var buf []byte
	flush := func() {
		if len(buf) > 0 {
			requests = append(requests, &request{encoded: buf, result: make(chan error, 1)})
			buf = nil
		}
	}
	var one []byte
	for i := range events {
		events[i].Received = received
		one = event.AppendEvent(one[:0], t, &events[i])
		if len(buf)+len(one) > c.most-1 {
			flush()
		}
		buf = append(buf, one...)
	}
	flush()
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	if err := g.add(t, requests); err != nil {
		return 0, err
	}
	// From here on the events are on their way, whether the sender waits or not, and are to be counted as what they are: an append is
	// bounded in time.
	var failed error
	for _, r := range requests {
		err := <-r.result
		failed = errors.Join(failed, err)
		if err == nil {
			written += int64(len(r.encoded))
		}
	}
	return written, failed
}

func (g *group) add(t tenant.ID, requests []*request) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.stopped {
		return ErrStopped
	}
	if g.bytes > maxPending {
		return ErrOverloaded
	}
	for _, r := range requests {
		g.waiting.Push(t, r)
		g.bytes += len(r.encoded)
	}
	g.signal()
	return nil
}

func (g *group) signal() {
	select {
	case g.wake <- struct{}{}:
	default:
	}
}

// take removes as many waiting requests as fit into most bytes, at least one, if there is any.
func (g *group) take(most int) (requests []*request, stopped bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	size := 1
	for {
		next, ok := g.waiting.Peek()
		if !ok || len(requests) > 0 && size+len(next.encoded) > most {
			break
		}
		g.waiting.Pop()
		requests = append(requests, next)
		size += len(next.encoded)
	}
	g.bytes -= size - 1
	if g.waiting.Len() > 0 || g.stopped {
		g.signal()
	}
	return requests, g.stopped
}

func (c *Committer) run(p int, g *group) {
	var payload []byte
	for range g.wake {
		requests, stopped := g.take(c.most)
		if len(requests) == 0 {
			if stopped {
				return
			}
			continue
		}
		payload = event.BeginBatch(payload[:0])
		for _, r := range requests {
			payload = append(payload, r.encoded...)
		}
		ctx, cancel := context.WithTimeout(context.Background(), appendTimeout)
		_, err := c.log.Append(ctx, p, payload)
		cancel()
		for _, r := range requests {
			r.result <- err
		}
	}
}

// Waiting is how many requests wait to be written.
func (c *Committer) Waiting() (n int) {
	for _, g := range c.parts {
		g.mu.Lock()
		n += g.waiting.Len()
		g.mu.Unlock()
	}
	return n
}

// Stop refuses what comes from now on, writes what waits, and returns when that is done.
func (c *Committer) Stop() {
	for _, g := range c.parts {
		g.mu.Lock()
		g.stopped = true
		g.signal()
		g.mu.Unlock()
	}
	c.done.Wait()
}
