package process

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/pulsestream/pulsestream/internal/event"
	"github.com/pulsestream/pulsestream/internal/series"
	"github.com/pulsestream/pulsestream/internal/store"
)

// What is done when the store refuses a commit (store.ErrRefused). All of it is looked for in dry runs, which keep nothing, so the offset moves past a
// message in one transaction as ever: with what the store takes of it, and with the rest in quarantine.
//
//  1. The store is shown an event of our own making, and the batch's events once more. If it refuses the former or takes the latter, no event
//     is to blame: nothing is put into quarantine, and the worker tries the same again, ever less often, and says so (Stalled).
//  2. The events are halved until those are found that it refuses by themselves; see condemn. They are remembered until they have been passed,
//     unless the store does not take the event of our own any more when they have been found. If the search could not be ended, those found so
//     far are remembered.
//  3. If it takes each by itself but not all that are left together, the messages they are of are committed one by one, and one that is refused alone
//     is put into quarantine with all its events.

// learn is done when a session has ended because of a refusal. It says whether the next one will do something else.
func (s *session) learn(ctx context.Context, c committed) (learned bool, err error) {
	try := func(events []event.Stored) error { return s.try(ctx, c.commit, events) }
	events := c.commit.Events
	if err := try(s.control(c.commit)); err != nil {
		return false, fmt.Errorf("it refuses an event of our own, too: %w", err)
	}
	whole := try(events)
	switch {
	case whole == nil:
		return false, errors.New("it would take the events; what it refuses is something else of the commit")
	case !errors.Is(whole, store.ErrRefused) || len(events) == 0:
		return false, whole
	}
	bad, failed := condemn(len(events), func(from, to int) error { return try(events[from:to]) })
	var rest []event.Stored
	for i := range events {
		if bad[i] == nil {
			rest = append(rest, events[i])
		}
	}
	together := error(nil)
	if failed == nil && len(rest) > 0 {
		if together = try(rest); !errors.Is(together, store.ErrRefused) {
			failed, together = together, nil
		}
	}
	// The store may have begun to refuse everything while this was looked for.
	if err := try(s.control(c.commit)); err != nil {
		return false, fmt.Errorf("it does not take an event of our own any more, so nothing is learned: %w", errors.Join(err, failed))
	}
	switch of := spanned(rest); {
	case together == nil:
	case of.first < of.last:
		learned, failed = s.careful != of, together // the same again cannot be: they came one by one
		s.careful = of
	default:
		for i := range events {
			if bad[i] == nil {
				bad[i] = together
			}
		}
	}
	for i, why := range bad {
		s.poison[events[i].Position] = why.Error()
	}
	if learned = learned || len(bad) > 0; learned {
		return true, nil
	}
	return false, failed
}

// spanned is the stretch of the log that events come from, which are in its order.
func spanned(events []event.Stored) stretch {
	if len(events) == 0 {
		return stretch{}
	}
	return stretch{events[0].Seq, events[len(events)-1].Seq}
}

// condemn finds those of n events that are refused by themselves. Refuses tries a range of them: nil when it is taken, store.ErrRefused when it is
// not, and any other error ends the search, with those found so far. For one bad event it takes twice the binary logarithm of n tries, and never more than 2n.
func condemn(n int, try func(from, to int) error) (bad map[int]error, err error) {
	bad = map[int]error{}
	var look func(from, to int) error
	look = func(from, to int) error {
		err := try(from, to)
		switch {
		case !errors.Is(err, store.ErrRefused):
			return err
		case to-from == 1:
			bad[from] = err
			return nil
		}
		middle := from + (to-from)/2
		if err := look(from, middle); err != nil {
			return err
		}
		return look(middle, to)
	}
	switch n {
	case 0:
		return bad, nil
	case 1:
		return bad, look(0, 1)
	}
	// That all of them are refused together is known.
	if err := look(0, n/2); err != nil {
		return bad, err
	}
	return bad, look(n/2, n)
}

// try asks whether the store would take some events, with the rollups that they lead to, in place of a commit.
func (s *session) try(ctx context.Context, c *store.Commit, events []event.Stored) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	_, err := s.store(ctx, &store.Commit{Partition: c.Partition, From: c.From, To: c.To, Events: events, Rollups: s.rollupsOf(events), DryRun: true})
	return err
}

func (s *session) rollupsOf(events []event.Stored) []series.Rollup {
	agg, out := newAggregator(s.bound), newRollups(s.bound)
	for i := range events {
		// One that a metric cannot be computed from is not among them.
		_ = agg.add(&events[i], s.plan(&events[i]))
	}
	out.add(agg.cells)
	return out.take()
}

// control is an event that every store takes.
func (s *session) control(c *store.Commit) []event.Stored {
	now := s.cfg.Now()
	ev := event.Stored{Partition: c.Partition, Position: event.Position{Seq: c.To.Seq}, Event: event.Event{
		ID: "trial", Source: "pulsestream", Type: "pulsestream.trial", Time: now, Received: now, Identified: true, Data: []byte(`{"n":1}`),
	}}
	if len(c.Events) > 0 {
		ev.Tenant = c.Events[0].Tenant
	}
	return []event.Stored{ev}
}

// suspect looks into a commit that failed. An error that is not a refusal teaches nothing: the store is sick, not the data, and the same is
// tried until it is well.
func (s *session) suspect(ctx context.Context, c committed) {
	if !errors.Is(c.err, store.ErrRefused) || ctx.Err() != nil {
		return
	}
	learned, err := s.learn(ctx, c)
	if s.learned = learned; err != nil {
		s.stall(fmt.Errorf("the store refuses a commit of partition %d: %w: %w", s.partition, c.err, err))
	}
}

// alone says whether what is in hand must be committed before the next message is taken: one of those that are committed alone, or what comes before the
// first of them.
func (s *session) alone() bool {
	return s.seq != s.offset.Seq && s.seq+1 >= s.careful.first && s.seq <= s.careful.last
}

// passed forgets what was learned of messages that are committed: when the store is built anew from the log, all of them come again. What was learned of
// later ones stays: messages keep their sequence for ever.
func (s *session) passed(seq uint64) {
	if seq >= s.careful.last {
		s.careful = stretch{}
	}
	for p := range s.poison {
		if p.Seq <= seq {
			delete(s.poison, p)
		}
	}
}

// holdFor and holdMost bound the pause between two attempts of a commit that waits for room on the disk.
const (
	holdFor  = 250 * time.Millisecond
	holdMost = 4 * time.Second
)

// persist commits, and waits while the disk is full: nothing of the commit was written then, so it can be made again as it is. Meanwhile the
// worker processes at most one more batch. At the session's end it gives up; a commit that has begun is waited for, whatever ends the
// session: a clean stop leaves nothing open.
func (s *session) persist(session context.Context, c *store.Commit) (store.Offset, error) {
	for wait := holdFor; ; {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(session), time.Minute)
		offset, err := s.store(ctx, c)
		cancel()
		if !errors.Is(err, store.ErrFull) {
			return offset, err
		}
		s.stall(fmt.Errorf("commits of partition %d wait: %w", s.partition, err))
		select {
		case <-session.Done():
			return offset, err
		case <-time.After(wait):
		}
		if errors.Is(err, store.ErrBroken) { // it was not foreseen, and the store is opened again for it
			wait = min(2*wait, holdMost)
		}
	}
}

// Stalled says why what the log has taken is not processed at present, or nil.
func (w *Worker) Stalled() error {
	if p := w.stalled.Load(); p != nil {
		return *p
	}
	return nil
}

// stall notes why nothing is processed, until the next commit takes effect.
func (w *Worker) stall(why error) {
	if w.stalled.Swap(&why) == nil {
		w.cfg.Log.Error("events are not processed at present; this is tried again until it can be done", "pulsestream.partition", w.partition, "error.message", why.Error())
	}
}

func (w *Worker) goesOn() {
	if w.stalled.Load() != nil && w.stalled.Swap(nil) != nil {
		w.cfg.Log.Info("events are processed again", "pulsestream.partition", w.partition)
	}
}
