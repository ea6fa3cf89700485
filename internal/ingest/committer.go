package ingest

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"time"

	"github.com/pulsestream/pulsestream/internal/event"
	"github.com/pulsestream/pulsestream/internal/limit"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

// Log is the part of the bus that ingest writes to.
type Log interface {
	// Append writes one message to a partition and returns once it is on disk. The payload is the caller's again when it returns.
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
	// lull is how long nobody may have come for what waits to go without those who were expected, and lulls how many of them are waited for at
	// most: 4 ms. So many bytes as worth are worth a message in any case.
	lull  = 300 * time.Microsecond
	lulls = 13
	worth = 64 << 10
	// appendTimeout bounds one append; a log that takes longer is in trouble.
	appendTimeout = 20 * time.Second
)

// Committer makes one log message, and so one fsync, of the events of all requests that arrive while the message before
// is being written. Under light load a request goes out alone at once. Under heavy load of small requests it waits a little for as many as were on
// their way at the same time as the message before, until nobody comes any more: their senders send the next one when they have their answer. What a message costs
// beside its bytes (the fsync, wake-ups from here to the worker) is what a few dozen small requests cost. Where more waits
// than fits into a message, tenants take turns: a request waits for at most one of every other tenant's.
type Committer struct {
	log   Log
	most  int // bytes in a log message
	now   func() time.Time
	lull  time.Duration
	parts []*group
	free  sync.Pool // *request
	done  sync.WaitGroup
}

// group is what waits for one partition.
type group struct {
	mu      sync.Mutex
	wake    chan struct{} // holds a token when enough waits, or the committer stops
	waiting limit.Queue[*request]
	bytes   int
	goal    int         // so many waiting requests are worth a message
	seen    int         // waited at the last look
	looks   int         // since others are expected
	again   *time.Timer // the next look
	stopped bool
	taken   []*request // by the last take
}

// request is events that wait to be written together. It is used again by another once its result was received.
type request struct {
	encoded []byte // a whole batch
	result  chan error
}

// size is how many bytes the events are, without what stands before a batch.
func (r *request) size() int { return len(r.encoded) - batchHead }

const (
	// batchHead is what stands before the events of a batch.
	batchHead = 1
	// keepEncoded bounds the memory that a request that is not in use has.
	keepEncoded = 1 << 20
)

func (c *Committer) request() *request {
	r, ok := c.free.Get().(*request)
	if !ok {
		r = &request{result: make(chan error, 1)}
	}
	r.encoded = event.BeginBatch(r.encoded[:0])
	return r
}

func (c *Committer) giveBack(r *request) {
	if cap(r.encoded) <= keepEncoded {
		c.free.Put(r)
	}
}

// NewCommitter starts a committer that writes messages of at most so many bytes.
func NewCommitter(log Log, most int, now func() time.Time) *Committer {
	c := &Committer{log: log, most: most, now: now, lull: lull}
	for p := range log.Partitions() {
		g := &group{wake: make(chan struct{}, 1)}
		g.again = time.AfterFunc(time.Hour, func() { g.look(c.lull) })
		g.again.Stop()
		c.parts = append(c.parts, g)
		c.done.Go(func() { c.run(p, g) })
	}
	return c
}

// Commit writes events of a tenant to the log, setting their Received, and returns once they are on disk, with how many bytes they
// are. On an error some may have been written: the sender has to send all again, and those with an id are counted once all the same.
// Nothing of the events is used after it has returned.
func (c *Committer) Commit(ctx context.Context, t tenant.ID, events []event.Event) (written int64, err error) {
	if len(events) == 0 {
		return 0, nil
	}
	g := c.parts[tenant.Partition(t, len(c.parts))]
	var few [1]*request
	requests := c.encode(few[:0], t, events)
	err = ctx.Err()
	if err == nil {
		err = g.add(t, requests)
	}
	if err != nil {
		for _, r := range requests {
			c.giveBack(r)
		}
		return 0, err
	}
	// From here on the events are on their way, whether the sender waits or not, and are to be counted as what they are: an append is
	// bounded in time.
	for _, r := range requests {
		if failed := <-r.result; failed != nil {
			err = errors.Join(err, failed)
		} else {
			written += int64(r.size())
		}
		c.giveBack(r)
	}
	return written, err
}

// encode puts events into as few requests as take them.
func (c *Committer) encode(requests []*request, t tenant.ID, events []event.Event) []*request {
	received := c.now().UTC()
	r := c.request()
	for i := range events {
		events[i].Received = received
		before := len(r.encoded)
		r.encoded = event.AppendEvent(r.encoded, t, &events[i])
		if len(r.encoded) <= c.most || before == batchHead {
			continue
		}
		next := c.request()
		next.encoded = append(next.encoded, r.encoded[before:]...)
		r.encoded = r.encoded[:before]
		requests, r = append(requests, r), next
	}
	return append(requests, r)
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
		g.bytes += r.size()
	}
	g.offer()
	return nil
}

// ready says whether what waits is worth a message.
func (g *group) ready() bool {
	n := g.waiting.Len()
	return g.stopped || n > 0 && (n >= g.goal || g.bytes >= worth)
}

// offer wakes the writer if it is.
func (g *group) offer() {
	if g.ready() {
		g.signal()
	}
}

// expect has what comes gathered until it is as many requests as were answered together and came meanwhile, or nobody comes any more.
func (g *group) expect(answered int, lull time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.goal = answered + g.waiting.Len()
	g.seen, g.looks = g.waiting.Len(), 0
	g.offer()
	if g.goal > 1 {
		g.again.Reset(lull)
	}
}

// look ends the waiting for others if some wait and nobody has come since the last look, or if there were enough looks: what there is goes, or
// what comes next. While nobody waits nobody loses anything.
func (g *group) look(lull time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	before := g.seen
	g.seen = g.waiting.Len()
	g.looks++
	if g.looks < lulls && (g.seen == 0 || g.seen > before) {
		g.again.Reset(lull)
		return
	}
	g.goal = 0
	g.offer()
}

func (g *group) signal() {
	select {
	case g.wake <- struct{}{}:
	default:
	}
}

// take removes as many waiting requests as fit into most bytes, at least one, if there are any that are worth a message: an earlier wake-up may have
// been for others. They are good until the next take.
func (g *group) take(most int) (requests []*request, stopped bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	requests = g.taken[:0]
	if !g.ready() {
		return requests, false
	}
	size := batchHead
	for {
		next, ok := g.waiting.Peek()
		if !ok || len(requests) > 0 && size+next.size() > most {
			break
		}
		g.waiting.Pop()
		requests = append(requests, next)
		size += next.size()
	}
	g.bytes -= size - batchHead
	g.offer()
	g.taken = requests
	return requests, g.stopped
}

func (c *Committer) run(p int, g *group) {
	var together []byte
	defer g.again.Stop()
	for range g.wake {
		runtime.Gosched() // requests that are ready to be parsed come along; without any this takes no time
		requests, stopped := g.take(c.most)
		if len(requests) == 0 {
			if stopped {
				return
			}
			continue
		}
		g.again.Stop()
		payload := requests[0].encoded
		if len(requests) > 1 {
			together = append(together[:0], payload...)
			for _, r := range requests[1:] {
				together = append(together, r.encoded[batchHead:]...)
			}
			payload = together
		}
		ctx, cancel := context.WithTimeout(context.Background(), appendTimeout)
		_, err := c.log.Append(ctx, p, payload)
		cancel()
		g.expect(len(requests), c.lull)
		for i, r := range requests {
			requests[i] = nil // it is whose it was again
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
