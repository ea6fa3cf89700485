package live

import (
	"context"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// feed is one thing to subscribe to: a question about a metric, the tail of events, or incidents. All clients of a tenant who ask the
// same share it, its state and the bytes of its frames. But for what says otherwise its room's mutex guards it.
type feed struct {
	room     *room
	key      string
	content  content
	interval time.Duration // frames go out at most so often
	members  []*subscription
	conns    []*conn   // of the members, in the same order
	at       position  // up to where frames went out
	next     time.Time // not before this is anything sent
	dirty    bool      // the clock knows
	ready    bool      // snapshots can be made

	// last is the newest frame, for everyone to read. One without a tail says that a new life has begun.
	last atomic.Pointer[frame]
	// loaded is closed when the first load has ended, with err.
	loaded chan struct{}
	err    error
}

// position is how far a client, or the feed itself, is.
type position struct {
	life uint64 // of the feed: behind a position of an earlier one comes a snapshot
	n    uint64 // frames of a metric, events or incidents of a topic
	left uint64 // events that the sample left out
}

// frame is what all clients at from are sent to get to to. It never changes.
type frame struct {
	from, to position
	tail     []byte // all that follows the id
}

// content is what a feed shows. The room's mutex is held when it is asked.
type content interface {
	// advance is where the feed stands now; it stood at last before.
	advance(last position, now time.Time) position
	// since is the tail of a frame with what came behind from, up to to, and how much of it is not to be had any more. It is nil
	// when there is nothing to say.
	since(from, to position) (tail []byte, dropped uint64)
}

// touch has the clock send what is new; the room's mutex is held.
func (h *Hub) touch(f *feed) {
	if f.dirty || !f.ready || len(f.members) == 0 {
		return
	}
	f.dirty = true
	h.clock.add(f)
}

// advance makes the next frame; the room's mutex is held. False: there is nothing to send.
func (f *feed) advance(now time.Time) bool {
	f.dirty, f.next = false, now.Add(f.interval)
	if !f.ready {
		return false
	}
	to := f.content.advance(f.at, now)
	tail, _ := f.content.since(f.at, to)
	if tail == nil {
		return false
	}
	f.last.Store(&frame{from: f.at, to: to, tail: tail})
	f.at = to
	return true
}

// begin is a new life: all members get a snapshot. The room's mutex is held.
func (f *feed) begin() {
	f.at.life++
	f.ready = true
	f.last.Store(&frame{to: f.at})
}

func (f *feed) join(s *subscription) {
	s.feed, s.index = f, len(f.members)
	f.members = append(f.members, s)
	f.conns = append(f.conns, s.conn)
}

// leave takes a subscription out; the room's mutex is held.
func (f *feed) leave(s *subscription) {
	last := len(f.members) - 1
	f.members[s.index] = f.members[last]
	f.members[s.index].index = s.index
	f.members[last] = nil
	f.members = f.members[:last]
	f.conns[s.index] = f.conns[last]
	f.conns[last] = nil
	f.conns = f.conns[:last]
	if last == 0 {
		f.room.close(f)
	}
}

// gather is how long the clock waits for what belongs to the same instant, so that a client gets it in one piece.
const gather = 5 * time.Millisecond

// clock sends the frames of all feeds when they are due: one timer for all.
type clock struct {
	mu   sync.Mutex
	new  []*feed
	wake chan struct{} // a token when new is not empty
}

func (c *clock) add(f *feed) {
	c.mu.Lock()
	c.new = append(c.new, f)
	c.mu.Unlock()
	signal(c.wake)
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

type appointment struct {
	feed *feed
	at   time.Time
}

// tick is the clock's loop.
func (h *Hub) tick(ctx context.Context) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	var waiting []appointment
	var earliest time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-h.clock.wake:
			if !pause(ctx, gather) {
				return
			}
		case <-timer.C:
		}
		h.clock.mu.Lock()
		fresh := h.clock.new
		h.clock.new = nil
		h.clock.mu.Unlock()
		for _, f := range fresh {
			f.room.mu.Lock()
			waiting = append(waiting, appointment{f, f.next})
			f.room.mu.Unlock()
		}
		now := h.cfg.Now()
		if len(fresh) > 0 || !now.Before(earliest) {
			waiting, earliest = h.send(waiting, now)
		}
		wait := time.Hour
		if len(waiting) > 0 {
			wait = max(0, earliest.Sub(now))
		}
		timer.Reset(wait)
	}
}

// send makes all frames that are due, then hands those whom they are for to the writers, and returns what is not due and when it will be.
func (h *Hub) send(waiting []appointment, now time.Time) (rest []appointment, earliest time.Time) {
	rest = waiting[:0]
	var due []*feed
	for _, w := range waiting {
		switch {
		case !now.Before(w.at):
			w.feed.room.mu.Lock()
			if w.feed.advance(now) {
				due = append(due, w.feed)
			}
			w.feed.room.mu.Unlock()
			continue
		case len(rest) == 0 || w.at.Before(earliest):
			earliest = w.at
		}
		rest = append(rest, w)
	}
	clear(waiting[len(rest):])
	for _, f := range due {
		h.rouse(f)
	}
	return rest, earliest
}

// rouse has the writers look at all who subscribe to a feed.
func (h *Hub) rouse(f *feed) {
	f.room.mu.Lock()
	conns := slices.Clone(f.conns)
	f.room.mu.Unlock()
	h.writers.add(conns...)
}

// pause waits, and says whether ctx is still good.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// subscription is one client's interest in a feed.
type subscription struct {
	conn *conn
	feed *feed
	head []byte // of all its frames: {"id":"…"
	// The conn's mutex guards these.
	at    position
	first []byte // the snapshot's tail, when it is not the feed's to make
	index int    // among the feed's members; the room's mutex guards it
}

// append adds the frames that are due to a client.
func (s *subscription) append(o *output, now time.Time) {
	if s.first != nil {
		o.frame(s.head, s.first)
		s.first = nil
	}
	f := s.feed.last.Load()
	switch {
	case f == nil || s.at == f.to:
		return
	case s.at == f.from && f.tail != nil:
		o.frame(s.head, f.tail)
		s.at = f.to
		return
	}
	// It is new, or was too slow for some frames.
	room := s.feed.room
	room.mu.Lock()
	defer room.mu.Unlock()
	if !s.feed.ready {
		return
	}
	to := s.feed.at
	if v, ok := s.feed.content.(*view); ok && s.at.life != to.life {
		o.frame(s.head, v.snapshot(to, now))
		s.at = to
		return
	}
	tail, dropped := s.feed.content.since(s.at, to)
	if dropped > 0 {
		o.frame(s.head, append(strconv.AppendUint([]byte(`,"op":"lagged","dropped":`), dropped, 10), '}'))
	}
	if tail != nil {
		o.frame(s.head, tail)
	}
	s.at = to
}
