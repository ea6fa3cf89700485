package duckdb

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/pulsestream/pulsestream/internal/event"
	"github.com/pulsestream/pulsestream/internal/series"
	"github.com/pulsestream/pulsestream/internal/store"
)

// errDryRun ends a dry run, so that its transaction is rolled back.
var errDryRun = errors.New("a dry run")

// Commit implements store.Events.
func (s *Store) Commit(ctx context.Context, c *store.Commit) (store.Offset, error) {
	if err := s.enter(); err != nil {
		return store.Offset{}, err
	}
	defer s.leave()
	if err := check(c); err != nil {
		return store.Offset{}, err
	}
	to := c.To
	to.Revision = c.From.Revision + 1
	err := s.write(ctx, func(w *conn, gen int64) error {
		// Whoever wrote while this commit waited for its turn has taken room.
		if err := s.room(written(c)); err != nil {
			return err
		}
		if !c.DryRun {
			s.expect(c.Events)
		}
		if err := w.moveOffset(ctx, c.Partition, c.From, to); err != nil {
			return err
		}
		if err := w.commit(ctx, c, gen); err != nil || !c.DryRun {
			return err
		}
		return errDryRun
	})
	switch {
	case errors.Is(err, errDryRun):
		return c.From, nil
	case err != nil:
		return store.Offset{}, err
	}
	now := s.now()
	s.committed.Store(now.UnixNano())
	s.backlog.committed(c.Rollups, now)
	return to, nil
}

// check refuses a commit that would store something where nobody finds it again.
func check(c *store.Commit) error {
	for i := range c.Events {
		if c.Events[i].Partition != c.Partition {
			return fmt.Errorf("events: a commit of partition %d holds an event of partition %d", c.Partition, c.Events[i].Partition)
		}
	}
	for i := range c.Fills {
		if c.Fills[i].Partition != c.Partition {
			return fmt.Errorf("events: a commit of partition %d holds a fill of partition %d", c.Partition, c.Fills[i].Partition)
		}
	}
	for i := range c.Rollups {
		if _, err := resolutionOf(c.Rollups[i].Step); err != nil {
			return err
		}
	}
	return nil
}

// expect raises newest before the events can be seen: readers begin there.
func (s *Store) expect(events []event.Stored) {
	for i := range events {
		t := events[i].Time.UnixNano()
		for old := s.newest.Load(); t > old && !s.newest.CompareAndSwap(old, t); old = s.newest.Load() {
		}
	}
}

// moveOffset is the compare-and-swap that makes a commit count once.
func (c *conn) moveOffset(ctx context.Context, partition int, from, to store.Offset) error {
	held, found, err := c.offset(ctx, partition)
	if err != nil {
		return err
	}
	if held != from {
		return fmt.Errorf("partition %d is at %+v, not at %+v: %w", partition, held, from, store.ErrFenced)
	}
	sql := `INSERT INTO offsets ("partition", incarnation, seq, revision) VALUES ($1, $2, $3, $4)`
	if found {
		sql = `UPDATE offsets SET incarnation = $2, seq = $3, revision = $4 WHERE "partition" = $1`
	}
	_, err = c.exec(sql, part(partition), to.Incarnation, to.Seq, to.Revision)
	return err
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

// commit writes all but the offset.
func (c *conn) commit(ctx context.Context, m *store.Commit, gen int64) error {
	if err := c.appendEvents(m.Events); err != nil {
		return err
	}
	for _, r := range resolutions() {
		var rows []*series.Rollup
		for i := range m.Rollups {
			if m.Rollups[i].Step == r.step {
				rows = append(rows, &m.Rollups[i])
			}
		}
		if err := c.appendRollups(r.table, gen, rows); err != nil {
			return err
		}
	}
	if err := c.replaceFills(m.Fills, gen); err != nil {
		return err
	}
	if err := c.replaceStates(m.Partition, m.States, gen); err != nil {
		return err
	}
	if err := c.replaceQuarantine(ctx, m); err != nil {
		return err
	}
	return c.addTransitions(ctx, m.Transitions)
}

func (c *conn) appendEvents(events []event.Stored) error {
	if len(events) == 0 {
		return nil
	}
	return c.appendRows("events", len(events), func(f *filling, from, to int) {
		for i := range events[from:to] {
			ev := &events[from+i]
			f.uint32(0, i, finder(ev.Source, ev.ID))
			f.string(1, i, string(ev.Tenant))
			f.int32(2, i, part(ev.Partition))
			f.uint64(3, i, ev.Seq)
			f.uint32(4, i, ev.Index)
			f.string(5, i, ev.ID)
			f.string(6, i, ev.Source)
			f.string(7, i, ev.Type)
			f.string(8, i, ev.Subject)
			f.int64(9, i, ev.Time.UnixNano())
			f.int64(10, i, ev.Received.UnixNano())
			f.bool(11, i, ev.Identified)
			f.optional(12, i, ev.Data)
			f.optional(13, i, ev.Extensions)
		}
	})
}

// appendRollups adds rows as they are: what belongs together is merged when it is read, and by compaction.
func (c *conn) appendRollups(table string, gen int64, rows []*series.Rollup) error {
	if len(rows) == 0 {
		return nil
	}
	return c.appendRows(table, len(rows), func(f *filling, from, to int) {
		f.lists(3, to-from, func(row int) []string { return rows[from+row].Labels })
		for i, r := range rows[from:to] {
			f.string(0, i, string(r.Tenant))
			f.int64(1, i, r.Metric)
			f.int64(2, i, r.Start.UnixNano())
			f.int64(4, i, gen)
			f.agg(5, i, &r.Agg)
		}
	})
}

// agg puts an aggregate into the eight columns from col on.
func (f *filling) agg(col, row int, a *series.Agg) {
	f.uint64(col, row, a.Count)
	f.uint64(col+1, row, a.Values)
	f.float64(col+2, row, a.Sum)
	if a.Values > 0 {
		f.float64(col+3, row, a.Min)
		f.float64(col+4, row, a.Max)
		f.float64(col+5, row, a.Last)
		f.int64(col+6, row, a.LastAt)
	} else {
		for i := col + 3; i <= col+6; i++ {
			f.null(i, row)
		}
	}
	f.blob(col+7, row, a.Sketches())
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
