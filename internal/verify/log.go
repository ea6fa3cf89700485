package verify

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"slices"

	"github.com/pulsestream/pulsestream/client/ledger"
	"github.com/pulsestream/pulsestream/internal/bus"
	"github.com/pulsestream/pulsestream/internal/event"
	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

// partition goes through one partition of the log beside the events that are stored of it.
func (v *offline) partition(ctx context.Context, p int) error {
	state, err := v.events.Partition(ctx, p)
	if err != nil {
		return err
	}
	_, first, last, err := v.bus.Tail(ctx, p)
	if err != nil {
		return err
	}
	c := v.report.check(fmt.Sprintf("log %d and offset agree", p), "partitions")
	c.Looked = 1
	offset := state.Offset
	switch {
	case offset.Incarnation == "" && offset.Seq == 0: // nothing was read; its revision counts incidents that were put back
	case !v.bus.Knows(p, offset.Incarnation, offset.Seq):
		c.violation("the store has message %d of incarnation %s, which was never one of this log", offset.Seq, offset.Incarnation)
		return nil
	case last < offset.Seq:
		c.violation("the store has message %d, the log ends with %d", offset.Seq, last)
		return nil
	}
	if offset.Seq < last {
		c.note("%d messages of the log are not in the store yet; the server takes them up when it starts", last-offset.Seq)
	}
	if first == 0 || last < first {
		return nil
	}
	w := newWalk(ctx, v, p, offset.Seq)
	w.last = first - 1
	defer w.stop()
	r, err := v.bus.Read(ctx, p, first-1)
	if err != nil {
		return err
	}
	defer r.Close()
	for m := range r.Messages() {
		if err := w.message(&m); err != nil {
			return err
		}
		if m.Seq >= last {
			return w.finish()
		}
	}
	w.whole.violation("the log breaks off before message %d: %v", last, r.Err())
	return nil
}

// walk compares the log's events with the stored ones, both in the order of the log.
type walk struct {
	ctx     context.Context //nolint:containedctx // a walk is one call
	v       *offline
	whole   *Check
	equal   *Check
	upto    uint64      // of the log's messages these are stored
	last    uint64      // message that was looked at
	lost    [][2]uint64 // messages that are gone: behind the first, up to the second
	first   event.Position
	decoder event.Decoder
	numbers map[uint64]uint64 // last number of each producer
	seen    map[event.Key]int64
	stored  map[tenant.ID]*storedEvents
}

func newWalk(ctx context.Context, v *offline, p int, upto uint64) *walk {
	return &walk{ctx: ctx, v: v, upto: upto, numbers: map[uint64]uint64{}, seen: map[event.Key]int64{}, stored: map[tenant.ID]*storedEvents{},
		whole: v.report.check(fmt.Sprintf("messages of log %d are whole", p), "messages"),
		equal: v.report.check(fmt.Sprintf("log %d and stored events agree", p), "events")}
}

func (w *walk) message(m *bus.Message) error {
	w.whole.Looked++
	before := w.last
	w.last = m.Seq
	if errors.Is(m.Err, bus.ErrLost) { // which Losses names, and findings has reported
		return w.gone(before, m.Seq)
	}
	if m.Err != nil {
		w.whole.violation("message %d: %v", m.Seq, m.Err)
		return w.gone(before, m.Seq)
	}
	if before := w.numbers[m.Producer]; m.Number <= before {
		w.whole.violation("message %d has its producer's number %d, behind %d", m.Seq, m.Number, before)
	}
	w.numbers[m.Producer] = m.Number
	err := w.decoder.Decode(m.Payload, func(ev event.Stored) error {
		ev.Seq = m.Seq
		if w.first == (event.Position{}) {
			w.first = ev.Position
		}
		if m.Seq > w.upto {
			return nil
		}
		return w.event(&ev)
	})
	if err != nil {
		w.whole.violation("message %d: %v", m.Seq, err)
	}
	return nil
}

// gone passes over stored events of messages that the log no longer has: behind after, up to upto.
func (w *walk) gone(after, upto uint64) error {
	for _, s := range w.stored {
		s.skipBefore(event.Position{Seq: after, Index: math.MaxUint32}, w.equal)
		for s.current != nil && s.current.Seq <= upto {
			s.advance()
		}
		if s.err != nil {
			return s.err
		}
	}
	w.lost = append(w.lost, [2]uint64{after, upto})
	return nil
}

// event looks for an event of the log in the store. One that was received before must not be there, all others must, or be in
// quarantine, or have come from there later.
func (w *walk) event(ev *event.Stored) error {
	w.equal.Looked++
	s := w.of(ev.Tenant)
	s.skipBefore(ev.Position, w.equal)
	duplicate := w.duplicate(ev)
	got, there := s.at(ev.Position)
	switch {
	case there && duplicate:
		w.equal.violation("%s: source %q, id %q was received before, and is stored a second time at %d/%d", ev.Tenant, ev.Source, ev.ID, ev.Seq, ev.Index)
	case there:
		w.note(ev)
		if d := differs(ev, got); d != "" {
			w.equal.violation("%s: source %q, id %q at %d/%d is stored with another %s", ev.Tenant, ev.Source, ev.ID, ev.Seq, ev.Index, d)
		}
	case !duplicate:
		ok, err := w.elsewhere(ev)
		if err != nil {
			return err
		}
		if !ok {
			w.equal.violation("%s: source %q, id %q stands in the log at %d/%d and is not stored", ev.Tenant, ev.Source, ev.ID, ev.Seq, ev.Index)
		}
	}
	if there {
		s.advance()
	}
	return s.err
}

// window is in whole seconds, as the worker reckons.
const window = int64(dedupeWindow / 1e9)

// note remembers that an event with this identity is stored.
func (w *walk) note(ev *event.Stored) {
	if ev.Identified {
		w.seen[event.IdentityKey(ev.Tenant, ev.Source, ev.ID)] = ev.Received.Unix()
	}
}

// duplicate says whether the event was stored before, within the dedupe window, as far as the log reaches back.
func (w *walk) duplicate(ev *event.Stored) bool {
	before, ok := w.seen[event.IdentityKey(ev.Tenant, ev.Source, ev.ID)]
	return ev.Identified && ok && ev.Received.Unix()-before < window
}

// elsewhere accounts for an event that is not stored where it stands in the log.
func (w *walk) elsewhere(ev *event.Stored) (bool, error) {
	held, err := w.v.held(w.ctx, ev.Tenant)
	if err != nil || held[ledger.Key{Source: ev.Source, ID: ev.ID}] {
		return err == nil, err
	}
	first, err := w.v.events.Event(w.ctx, ev.Tenant, ev.Source, ev.ID)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return false, nil
	case err != nil:
		return false, err
	case first.Before(w.first): // the log no longer has it
		w.note(&first)
		return ev.Identified && w.duplicate(ev), nil
	}
	return ev.Before(first.Position), nil // it was in quarantine, and was retried with success
}

func differs(a, b *event.Stored) string {
	switch {
	case a.ID != b.ID || a.Source != b.Source:
		return "identity: source " + b.Source + ", id " + b.ID
	case a.Type != b.Type:
		return "type"
	case a.Subject != b.Subject:
		return "subject"
	case !a.Time.Equal(b.Time):
		return "time"
	case !a.Received.Equal(b.Received):
		return "time of receipt"
	case !bytes.Equal(a.Data, b.Data):
		return "data"
	case !bytes.Equal(a.Extensions, b.Extensions):
		return "extension attributes"
	case a.Identified != b.Identified:
		return "mark of whether the sender chose the id"
	}
	return ""
}

// finish looks for stored events that stand nowhere in the log.
func (w *walk) finish() error {
	for _, s := range w.stored {
		s.skipBefore(event.Position{Seq: math.MaxUint64, Index: math.MaxUint32}, w.equal)
		if s.err != nil {
			return s.err
		}
	}
	return nil
}

func (w *walk) stop() {
	for _, s := range w.stored {
		s.stop()
	}
}

func (w *walk) isLost(seq uint64) bool {
	return slices.ContainsFunc(w.lost, func(l [2]uint64) bool { return seq > l[0] && seq <= l[1] })
}

func (w *walk) of(t tenant.ID) *storedEvents {
	s := w.stored[t]
	if s == nil {
		s = w.v.storedOf(w.ctx, t, w.first)
		w.stored[t] = s
		for s.current != nil && w.isLost(s.current.Seq) {
			s.advance()
		}
	}
	return s
}

// storedEvents goes through the stored events of a tenant, in the order of the log.
type storedEvents struct {
	tenant  tenant.ID
	next    func() (*event.Stored, bool)
	stop    func()
	current *event.Stored // nil at the end
	err     error
}

// storedOf begins with the stored events of a tenant that the log still has.
func (v *offline) storedOf(ctx context.Context, t tenant.ID, from event.Position) *storedEvents {
	s := &storedEvents{tenant: t}
	after := event.Position{Seq: from.Seq - 1, Index: math.MaxUint32}
	s.next, s.stop = iter.Pull(func(yield func(*event.Stored) bool) {
		err := v.events.Scan(ctx, t, store.Scan{After: after}, func(ev *event.Stored) error {
			if !yield(ev) {
				return errEnough
			}
			return nil
		})
		if err != nil && err != errEnough { //nolint:errorlint // our own value, returned as it is
			s.err = err
		}
	})
	s.advance()
	return s
}

func (s *storedEvents) advance() { s.current, _ = s.next() }

func (s *storedEvents) at(p event.Position) (*event.Stored, bool) {
	return s.current, s.current != nil && s.current.Position == p
}

// skipBefore passes over stored events that should stand in the log before p, and don't.
func (s *storedEvents) skipBefore(p event.Position, c *Check) {
	for s.current != nil && s.current.Before(p) {
		c.violation("%s: source %q, id %q is stored at %d/%d, where the log has no such event", s.tenant, s.current.Source, s.current.ID, s.current.Seq, s.current.Index)
		s.advance()
	}
}
