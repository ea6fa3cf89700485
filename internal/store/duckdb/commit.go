package duckdb

import (
	"context"
	"errors"
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/pulsestream/pulsestream/internal/event"
	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/store/rollup"
	"github.com/pulsestream/pulsestream/internal/store/segment"
)

// Commit implements store.Events. It takes effect in memory, where everybody sees it at once. On disk it is with the next flush; a process that dies
// before has its partitions where the flush before that left them. A commit that has transitions or is about the quarantine is
// on disk when Commit returns: what follows from it cannot be taken back.
func (s *Store) Commit(ctx context.Context, c *store.Commit) (store.Offset, error) {
	if err := s.enter(); err != nil {
		return store.Offset{}, err
	}
	defer s.leave()
	if err := check(c); err != nil {
		return store.Offset{}, err
	}
	if isUrgent(c) { // others are taken on a full disk too, as long as there is room in memory
		if err := s.room(written(c)); err != nil {
			return store.Offset{}, err
		}
	}
	to := c.To
	to.Revision = c.From.Revision + 1
	for {
		number, err := s.add(ctx, c, to)
		switch {
		case errors.Is(err, errFull): // the flush before this one takes its time
			if err := s.flush(ctx, number-1); err != nil {
				return store.Offset{}, err
			}
			continue
		case err != nil:
			return store.Offset{}, err
		case c.DryRun:
			return c.From, nil
		case isUrgent(c):
			if err := s.flush(ctx, number); err != nil {
				s.mem.unsettled(c, to, number)
				return store.Offset{}, err
			}
		}
		return to, nil
	}
}

// errFull is for a commit that finds no place in memory until a flush is over.
var errFull = errors.New("what was committed waits to be written to disk")

// add adds a commit to what is in memory, if it follows what is there. Number is that of the flush that will write it.
func (s *Store) add(ctx context.Context, c *store.Commit, to store.Offset) (number int64, err error) {
	m := &s.mem
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	if held := m.offsets[c.Partition]; held != c.From {
		if u := m.unsure[c.Partition]; held == to && u == (unsure{c.From, to, u.number}) && !c.DryRun {
			return u.number, nil
		}
		return 0, fmt.Errorf("partition %d is at %+v, not at %+v: %w", c.Partition, held, c.From, store.ErrFenced)
	}
	number = m.active.number
	if c.DryRun {
		return number, nil
	}
	if m.active.full() && m.frozen != nil {
		return number, errFull
	}
	m.active.add(c, to, s.now())
	m.offsets[c.Partition] = to
	if m.active.full() {
		select {
		case s.due <- struct{}{}:
		default:
		}
	}
	return number, nil
}

// check refuses a commit that would store something where nobody finds it again, or that could not be written later.
func check(c *store.Commit) error {
	for i := range c.Events {
		ev := &c.Events[i]
		if ev.Partition != c.Partition {
			return fmt.Errorf("events: a commit of partition %d holds an event of partition %d", c.Partition, ev.Partition)
		}
		if !segment.Fits(ev) {
			return fmt.Errorf("event %.100q of source %.100q is too long: %w", ev.ID, ev.Source, store.ErrRefused)
		}
	}
	if ev := event.NotText(c.Events); ev != nil {
		return fmt.Errorf("event %.100q of source %.100q is not UTF-8: %w", ev.ID, ev.Source, store.ErrRefused)
	}
	for i := range c.Fills {
		if c.Fills[i].Partition != c.Partition {
			return fmt.Errorf("events: a commit of partition %d holds a fill of partition %d", c.Partition, c.Fills[i].Partition)
		}
	}
	for i := range c.Rollups {
		if c.Rollups[i].Step != time.Minute {
			return fmt.Errorf("events: a commit holds a rollup of %v: those of a minute are committed, and others made of them", c.Rollups[i].Step)
		}
		if !rollup.Fits(&c.Rollups[i]) {
			return fmt.Errorf("a rollup of metric %d has %d labels: %w", c.Rollups[i].Metric, len(c.Rollups[i].Labels), store.ErrRefused)
		}
		for _, l := range c.Rollups[i].Labels {
			if !utf8.ValidString(l) {
				return fmt.Errorf("label %.100q of metric %d is not UTF-8: %w", l, c.Rollups[i].Metric, store.ErrRefused)
			}
		}
	}
	for i := range c.States {
		if !utf8.ValidString(string(c.States[i].Tenant)) || !utf8.ValidString(c.States[i].Incident) {
			return fmt.Errorf("the state of rule %d is not UTF-8: %w", c.States[i].RuleID, store.ErrRefused)
		}
	}
	return nil
}

func (c *conn) offset(ctx context.Context, partition int) (o store.Offset, found bool, err error) {
	r, err := c.query(ctx, `SELECT incarnation, seq, revision FROM offsets WHERE "partition" = $1`, part(partition))
	if err != nil {
		return o, false, err
	}
	defer r.close()
	if !r.next() {
		return o, false, nil
	}
	return store.Offset{Incarnation: r.string(0, 0), Seq: r.uint64(1, 0), Revision: r.uint64(2, 0)}, true, nil
}

// time puts an optional time: null for the zero time, which has no Unix nanoseconds.
func (f *filling) time(col, row int, t time.Time) {
	if t.IsZero() {
		f.null(col, row)
		return
	}
	f.int64(col, row, t.UnixNano())
}

// time reads an optional time.
func (r *result) time(col, row int) time.Time {
	if r.null(col, row) {
		return time.Time{}
	}
	return time.Unix(0, r.int64(col, row)).UTC()
}
