package process

import (
	"context"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/pulsestream/pulsestream/internal/alert"
	"github.com/pulsestream/pulsestream/internal/bus"
	"github.com/pulsestream/pulsestream/internal/event"
	"github.com/pulsestream/pulsestream/internal/metric"
	"github.com/pulsestream/pulsestream/internal/series"
	"github.com/pulsestream/pulsestream/internal/store"
)

func stack() string { return string(debug.Stack()) }

// loop processes until an error or the end of ctx; then it commits what it has.
func (s *session) loop(ctx context.Context) error {
	tick := time.NewTicker(s.cfg.Tick)
	defer tick.Stop()
	due := time.NewTimer(time.Hour)
	defer due.Stop()
	for {
		if err := s.maybeCommit(ctx, due); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return s.flush(ctx)
		case m, ok := <-s.messages():
			if !ok {
				return s.reader.Err()
			}
			s.message(m)
		case c := <-s.inflight:
			s.inflight = nil
			if err := s.landed(ctx, c); err != nil {
				return err
			}
		case <-tick.C:
			s.show()
			s.evaluate(false)
			s.dedupe.Sweep()
			if s.idle() {
				s.goesOn()
			}
		case <-s.refresh:
			if err := s.readopt(ctx); err != nil {
				return err
			}
		case <-due.C:
		}
	}
}

// idle says that all there is has been processed and committed.
func (s *session) idle() bool {
	return s.inflight == nil && s.pending == 0 && s.batch.empty(s.offset, s.seq)
}

// messages is the source of work, or nothing while the batch is full and waits for the commit before it.
func (s *session) messages() <-chan bus.Message {
	if s.full() {
		return nil
	}
	return s.reader.Messages()
}

func (s *session) full() bool {
	b := s.batch
	return s.alone() || len(b.commit.Events) >= maxBatchEvents || len(b.commit.Quarantine) >= maxBatchHeld || b.bytes >= maxBatchBytes
}

// message takes one log message through decode, dedupe and aggregate. Its events are decoded to where the commit has them. What they add is shown
// at once, unless much comes: then what several messages add to the same second of a series is merged once, when it is committed.
func (s *session) message(m bus.Message) {
	b := s.batch
	before := len(b.commit.Events)
	s.ids = s.ids[:0]
	if m.Err == nil {
		b.commit.Events, m.Err = s.decoder.Append(b.commit.Events, m.Payload)
		for i := before; i < len(b.commit.Events); i++ {
			ev := &b.commit.Events[i]
			ev.Seq, ev.Partition = m.Seq, s.partition
			s.ids = append(s.ids, s.identifier.identity(ev.Tenant, ev.Source, ev.ID))
		}
	}
	duplicates := s.events(before)
	if m.Err != nil {
		s.quarantineMessage(m)
	}
	s.seq, s.pending = m.Seq, m.Pending
	if len(m.Payload) > 0 {
		b.payloads = append(b.payloads, m.Payload)
	}
	fresh := b.commit.Events[before:]
	if len(fresh) > 0 {
		s.received = fresh[len(fresh)-1].Received
	}
	s.cfg.Observer.Processed(s.partition, len(fresh), duplicates)
	s.cfg.Observer.Lag(s.partition, m.Pending)
	if !s.much() {
		s.show()
	}
}

// much says that it pays to gather: more waits in the log, or as much came last as busyRate.
func (s *session) much() bool { return s.pending > 0 || s.busy }

// show hands on what was aggregated since it was called last: to the batch, to the rules and to live charts.
func (s *session) show() {
	b := s.batch
	fresh := b.commit.Events[b.shown:]
	b.shown = len(b.commit.Events)
	if len(fresh) == 0 && len(s.aggregate.cells) == 0 {
		return
	}
	deltas := s.aggregate.deltas()
	for i := range deltas {
		s.watch(s.aggregate.cells[i].of.table, &deltas[i])
	}
	s.cfg.Live.Publish(s.partition, s.seq, deltas, fresh)
	b.rollups.add(s.aggregate.cells)
	s.aggregate.begin()
	if len(deltas) > 0 {
		s.evaluate(true)
	}
}

// watch shows a delta to the rules about its metric.
func (s *session) watch(t *table, d *series.Delta) {
	if !t.watched {
		t.watch, t.watched = s.rules.Watch(t.tenant, t.metric), true
	}
	s.rules.AddTo(t.watch, d)
}

// events takes those of the batch's events that have just been decoded, from the index first on, and leaves out what isn't to be
// stored. It returns how many were seen before.
func (s *session) events(first int) (duplicates int) {
	b := s.batch
	all := b.commit.Events
	s.note(all[first:])
	kept, held := first, false
	for i := first; i < len(all); i++ {
		ev := &all[i]
		// One that is held counts as not seen: whether what follows repeats another is to be asked again.
		if s.repeated[i-first] && (!held || s.dedupe.add(s.ids[i-first], ev.Received.Unix())) {
			duplicates++
			continue
		}
		if !s.event(ev) {
			held = true
			continue
		}
		b.bytes += len(ev.Data) + len(ev.Extensions) + 256
		if kept != i {
			all[kept] = *ev
		}
		kept++
	}
	b.commit.Events = all[:kept]
	return duplicates
}

// touched is how many identities are touched at a time: as many as stay near until they are added.
const touched = 32

// note notes the identities of events, and in repeated which of them were seen before. It does nothing else in between, for that would push out what was touched.
func (s *session) note(fresh []event.Stored) {
	s.repeated = s.repeated[:0]
	for i := range s.ids {
		if i%touched == 0 {
			for _, id := range s.ids[i:min(i+touched, len(s.ids))] {
				s.touched += s.dedupe.touch(id)
			}
		}
		ev := &fresh[i]
		s.repeated = append(s.repeated, ev.Identified && s.dedupe.add(s.ids[i], ev.Received.Unix()))
	}
}

// event takes one event that wasn't seen before; it is false when it can't be stored.
func (s *session) event(ev *event.Stored) (stored bool) {
	if len(s.poison) > 0 {
		if reason, poison := s.poison[ev.Position]; poison {
			s.quarantine(ev, "commit", reason)
			return false
		}
	}
	if err := s.aggregate.add(ev, s.plan(ev)); err != nil {
		s.quarantine(ev, "aggregate", err.Error())
		return false
	}
	if len(s.held) > 0 {
		held := quarantineKey(ev.Tenant, event.IdentityKey(ev.Tenant, ev.Source, ev.ID))
		if s.held[held] {
			delete(s.held, held)
			s.batch.commit.Released = append(s.batch.commit.Released, held)
		}
	}
	return true
}

// plan is what is done with an event.
func (s *session) plan(ev *event.Stored) *plan {
	if last := s.plans.last; last != nil && last.tenant == ev.Tenant {
		return s.plans.of(ev.Tenant, last.set, ev.Type)
	}
	return s.plans.of(ev.Tenant, s.metrics(ev.Tenant), ev.Type)
}

// behind says whether what is being processed was received some time ago. While a worker catches up, rules wait: a count
// that is too low because the rest still stands in the log must not raise an alarm.
func (s *session) behind() bool {
	return s.pending > 0 && s.cfg.Now().Sub(s.received) > 5*time.Second
}

func (s *session) evaluate(touched bool) {
	if s.behind() {
		return
	}
	states, transitions := s.rules.Evaluate(s.cfg.Now(), touched)
	b := s.batch
	b.commit.States = append(b.commit.States, states...)
	if len(b.commit.States) > max(maxStates, 2*b.states) { // the commit before this one has been waiting for long
		b.commit.States = alert.Latest(b.commit.States)
		b.states = len(b.commit.States)
	}
	b.commit.Transitions = append(b.commit.Transitions, transitions...)
	if len(transitions) > 0 {
		b.urgent = true
	}
}

// newBatch begins a batch, in the memory of one that has been committed if there is.
func (s *session) newBatch() {
	b := s.spare
	if s.spare = nil; b == nil {
		b = &batch{rollups: newRollups(s.bound)}
	}
	b.commit.Partition = s.partition
	b.commit.To.Incarnation = s.offset.Incarnation
	s.batch = b
}

// reuse keeps the memory of a batch that has been committed, for the next but one.
func (s *session) reuse(b *batch) {
	b.rollups.begin()
	clear(b.payloads) // the events stay as they are, and are written over
	*b = batch{rollups: b.rollups, payloads: b.payloads[:0], commit: store.Commit{Events: b.commit.Events[:0]}}
	s.spare = b
}

func (b *batch) empty(from store.Offset, seq uint64) bool {
	c := &b.commit
	return from.Seq == seq && len(c.Quarantine)+len(c.Events)+len(c.States)+len(c.Fills)+len(c.Transitions) == 0 && b.rollups.empty()
}

// maybeCommit starts a commit when one is due and none is under way, else makes sure that due fires in time.
func (s *session) maybeCommit(ctx context.Context, due *time.Timer) error {
	if s.inflight != nil {
		return nil
	}
	if err := s.fill(ctx); err != nil {
		return err
	}
	if s.batch.empty(s.offset, s.seq) {
		return nil
	}
	if wait := s.gather() - s.cfg.Now().Sub(s.lastCommit); wait > 0 && !s.batch.urgent && !s.full() {
		due.Reset(wait)
		return nil
	}
	s.commit(ctx)
	return nil
}

const (
	// whenBehind is how many times as long a worker gathers while more is waiting in the log: what is gathered together is merged once.
	whenBehind = 4
	// busyRate is from how many events a second on what they add is shown commit by commit, busyLeast how many a commit then has at least.
	busyRate, busyLeast = 4_000, 100
)

// gather is the least time between two commits.
func (s *session) gather() time.Duration {
	if s.pending > 0 {
		return whenBehind * s.cfg.CommitEvery
	}
	return s.cfg.CommitEvery
}

// commit hands the batch to the store and begins a new one.
func (s *session) commit(ctx context.Context) {
	s.show()
	b := s.batch
	b.commit.From = s.offset
	b.commit.To.Seq = s.seq
	b.commit.Rollups = b.rollups.take()
	b.commit.States = alert.Latest(b.commit.States)
	s.offset = store.Offset{Incarnation: b.commit.To.Incarnation, Seq: s.seq, Revision: s.offset.Revision + 1}
	s.newBatch()
	now := s.cfg.Now()
	s.busy = len(b.commit.Events) >= max(busyLeast, int(busyRate*now.Sub(s.lastCommit).Seconds()))
	s.lastCommit = now
	result := make(chan committed, 1)
	s.inflight = result
	go func() {
		started := s.cfg.Now()
		offset, err := s.persist(ctx, &b.commit)
		if err == nil {
			s.cfg.Observer.Committed(s.partition, offset.Seq, s.cfg.Now().Sub(started))
		}
		result <- committed{batch: b, from: b.commit.From.Seq, to: b.commit.To.Seq, commit: &b.commit, offset: offset, err: err}
	}()
}

// landed takes note of a commit's end.
func (s *session) landed(ctx context.Context, c committed) error {
	if c.err != nil {
		s.suspect(ctx, c)
		return fmt.Errorf("commit: %w", c.err)
	}
	s.passed(c.offset.Seq)
	s.goesOn()
	s.cfg.Live.Committed(s.partition, c.offset.Seq, c.commit.Transitions)
	for _, p := range c.batch.payloads { // nobody has a view of them any more: the store has copied what it keeps
		s.reader.Recycle(p)
	}
	s.reuse(c.batch)
	return nil
}

// settle waits for a commit under way and says how it went.
func (s *session) settle(ctx context.Context) error {
	if s.inflight == nil {
		return nil
	}
	c := <-s.inflight
	s.inflight = nil
	return s.landed(ctx, c)
}

// flush commits all that was processed, and waits.
func (s *session) flush(ctx context.Context) error {
	if err := s.settle(ctx); err != nil {
		return err
	}
	if s.batch.empty(s.offset, s.seq) {
		return nil
	}
	s.commit(ctx)
	return s.settle(ctx)
}

// readopt takes up the definitions when they have changed.
func (s *session) readopt(ctx context.Context) error {
	switch generation, err := s.cfg.Configuration.Generation(ctx); {
	case err != nil:
		return fmt.Errorf("load definitions: %w", err)
	case generation == s.generation:
		return nil
	}
	if err := s.flush(ctx); err != nil {
		return err
	}
	history, err := s.adopt(ctx)
	if err != nil {
		return err
	}
	s.cfg.Live.History(s.partition, history)
	s.evaluate(false)
	return nil
}

// fill brings a new metric's rollups up from stored events by one step, in the same transaction as whatever else the batch holds.
func (s *session) fill(ctx context.Context) error {
	for k, f := range s.fills {
		if f.Complete {
			continue
		}
		p, ok := s.metrics(k.tenant).ByID(k.metric)
		if !ok { // the metric was deleted or changed meanwhile
			continue
		}
		return s.fillStep(ctx, f, p)
	}
	return nil
}

func (s *session) fillStep(ctx context.Context, f *store.Fill, program *metric.Program) error {
	agg, plan := newAggregator(s.bound), s.bound.plan(f.Tenant, []*metric.Program{program})
	seen := 0
	filter := store.EventFilter{Types: program.Definition().EventTypes}
	scan := store.Scan{EventFilter: filter, After: f.Done, Upto: &f.Upto, Limit: fillChunk}
	err := s.cfg.Store.Scan(ctx, f.Tenant, scan, func(ev *event.Stored) error {
		if err := agg.add(ev, plan); err != nil {
			s.skipped(ev, err)
		}
		f.Done = ev.Position
		seen++
		return nil
	})
	if err != nil {
		return fmt.Errorf("fill a metric: %w", err)
	}
	if seen < fillChunk {
		f.Done, f.Complete = f.Upto, true
	}
	f.UpdatedAt = s.cfg.Now()
	s.batch.rollups.add(agg.cells)
	s.batch.commit.Fills = append(s.batch.commit.Fills, *f)
	s.batch.urgent = true // the next step follows the commit of this one
	return nil
}
