//go:build linux

package fault

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pulsestream/pulsestream/client"
	"github.com/pulsestream/pulsestream/client/ledger"
)

// load is what writers do.
type load struct {
	writers int
	batch   int           // events in a request at most
	every   time.Duration // pause between a writer's requests at most
	pad     int           // bytes that make events larger, at most
	poison  bool          // some events make a stage fail
}

func lightLoad() load { return load{writers: 6, batch: 40, every: 8 * time.Millisecond, pad: 200} }

// target is where the server is now.
type target struct {
	mu      sync.Mutex
	c       *client.Client
	changed chan struct{}
}

func newTarget() *target { return &target{changed: make(chan struct{})} }

func (t *target) set(c *client.Client) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.c = c
	close(t.changed)
	t.changed = make(chan struct{})
}

// wait returns the client of the server, once there is one; nil when ctx ends.
func (t *target) wait(ctx context.Context) *client.Client {
	for {
		t.mu.Lock()
		c, changed := t.c, t.changed
		t.mu.Unlock()
		if c != nil {
			return c
		}
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		}
	}
}

// traffic is writers at work.
type traffic struct {
	load     load
	seed     uint64
	name     string // makes its events unique among all traffic of a run
	target   *target
	ledger   *ledger.Ledger
	hook     func() string // path of the webhook, "" for none
	cancel   context.CancelFunc
	running  sync.WaitGroup
	requests atomic.Int64
	taken    atomic.Int64 // events acknowledged
	err      atomic.Pointer[error]
}

// start sets the writers going.
func (t *traffic) start(ctx context.Context) {
	ctx, t.cancel = context.WithCancel(ctx)
	for i := range t.load.writers {
		w := &writer{traffic: t, index: i, rand: rand.New(rand.NewPCG(t.seed, uint64(i)))} //nolint:gosec // chance by a seed is the point
		t.running.Go(func() {
			if err := w.run(ctx); err != nil {
				t.err.CompareAndSwap(nil, &err)
			}
		})
	}
}

// stop ends the writers once their requests have ended.
func (t *traffic) stop() error {
	t.cancel()
	t.running.Wait()
	if err := t.err.Load(); err != nil {
		return *err
	}
	return nil
}

// writer is one connection's user.
type writer struct {
	*traffic
	index int
	rand  *rand.Rand
	n     int
	again []outgoing // sent before, with an id, to be sent again
}

func (w *writer) run(ctx context.Context) error {
	kinds := forms()
	for ctx.Err() == nil {
		c := w.target.wait(ctx)
		if c == nil {
			return nil
		}
		var req request
		var events []outgoing
		if path := w.hook(); path != "" && w.rand.IntN(12) == 0 {
			var e outgoing
			req, e = webhook(path, w.next(), time.Now(), w.rand)
			events = []outgoing{e}
		} else {
			var err error
			f := pick(w.rand, kinds...)
			events = w.batch(&f)
			if req, err = f.encode(w.rand, events); err != nil {
				return err
			}
		}
		if err := w.send(c, req, events); err != nil {
			return err
		}
		if w.load.every > 0 {
			pause(ctx, time.Duration(w.rand.Int64N(int64(w.load.every))))
		}
	}
	return nil
}

func (w *writer) next() string {
	w.n++
	return fmt.Sprintf("%s-%d-%d", w.name, w.index, w.n)
}

// batch makes the events of a request; some of them were sent before.
func (w *writer) batch(f *form) []outgoing {
	size := 1 + w.rand.IntN(min(f.batch, w.load.batch))
	events := make([]outgoing, 0, size)
	for len(events) < size {
		if n := len(w.again); n > 0 && w.rand.IntN(3) > 0 {
			events = append(events, w.again[n-1])
			w.again = w.again[:n-1]
			continue
		}
		pad := 0
		if w.load.pad > 0 {
			pad = w.rand.IntN(w.load.pad)
		}
		e := makeEvent(w.rand, w.next(), time.Now(), f.ids || w.rand.IntN(4) > 0, pad)
		if w.load.poison && w.rand.IntN(200) == 0 {
			e.Type = pick(w.rand, "fault.panic", "fault.panic", "fault.commit")
		}
		events = append(events, e)
	}
	return events
}

// send sends and keeps the ledger. Not the traffic's context: what has begun is waited for, so that as little as possible stays unknown.
func (w *writer) send(c *client.Client, req request, events []outgoing) error {
	entries := make([]ledger.Event, len(events))
	for i := range events {
		entries[i] = events[i].Event
	}
	number := w.ledger.Sending(entries)
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	answer, err := c.Exchange(ctx, http.MethodPost, req.path, req.header, req.body)
	outcome, status, rejected := judge(answer, err)
	w.requests.Add(1)
	if outcome == ledger.Acknowledged {
		w.taken.Add(int64(len(events) - len(rejected)))
	}
	for i := range events {
		// What is not known to be stored has to be sent again, and what is known may be: vendors do.
		if e := &events[i]; e.ID != "" && e.Source != hookSource && (outcome == ledger.Unknown && w.rand.IntN(4) > 0 || w.rand.IntN(50) == 0) && len(w.again) < 5000 {
			w.again = append(w.again, *e)
		}
	}
	if err := w.ledger.Answered(number, outcome, status, rejected); err != nil {
		return err
	}
	if outcome != ledger.Acknowledged {
		pause(ctx, 20*time.Millisecond) // the server is down, or has asked for patience
	}
	return nil
}

// judge says what an answer means for the events of its request.
func judge(answer *client.Response, err error) (o ledger.Outcome, status int, rejected []int) {
	if err != nil {
		return ledger.Unknown, 0, nil
	}
	switch {
	case answer.Status >= 500 || answer.Status == http.StatusRequestTimeout:
		return ledger.Unknown, answer.Status, nil
	case answer.Status >= 400:
		return ledger.Refused, answer.Status, nil
	}
	var receipt client.Receipt
	if err := json.Unmarshal(answer.Body, &receipt); err != nil {
		// A webhook's answer has no list; it says all there is by its status.
		return ledger.Acknowledged, answer.Status, nil
	}
	for _, r := range receipt.Rejected {
		rejected = append(rejected, r.Index)
	}
	return ledger.Acknowledged, answer.Status, rejected
}

// errNotTaken is returned for an event that the server would not acknowledge in time.
var errNotTaken = errors.New("the server does not take events")
