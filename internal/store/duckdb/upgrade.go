package duckdb

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/pulsestream/pulsestream/internal/store/segment"
)

// upgrade brings a file of schema 1, which had the events in a table, to schema 2: they become segments. The file is changed in one transaction at
// the end; whatever ends the process before, the next start begins anew.
func (s *Store) upgrade(ctx context.Context) error {
	last, err := s.writer.number(ctx, `SELECT max(rowid) FROM events`)
	if err != nil {
		return err
	}
	n, err := s.writer.number(ctx, `SELECT count(*) FROM events`)
	if err != nil {
		return err
	}
	s.log.Info("events store: its file is of an earlier release, and is brought up to date", slog.Int64("events", n))
	var entries []segmentEntry
	for from := int64(0); n > 0 && from <= last; from += flushRows {
		t := &segment.Tail{}
		if err := s.writer.tailOf(ctx, t, from, from+flushRows); err != nil {
			return err
		}
		if t.Len() == 0 {
			continue
		}
		seg, e, err := s.seal(s.builder, t)
		if err != nil {
			return err
		}
		if err := seg.Release(); err != nil {
			return err
		}
		e.place = e.number
		entries = append(entries, e)
		s.log.Info("events store: upgrading", slog.Float64("progress", float64(min(last, from+flushRows))/float64(last+1)))
	}
	return s.write(ctx, func(c *conn, _ int64) error {
		for _, sql := range []string{
			segmentsTable, flushedTable, flushedRow, `DROP TABLE events`,
			`UPDATE ` + minutesTable + ` SET gen = 0`, // hours and days have them already
			fmt.Sprintf(`UPDATE schema_version SET version = %d`, schemaVersion),
		} {
			if _, err := c.exec(sql); err != nil {
				return err
			}
		}
		for _, e := range entries {
			if err := c.addSegment(e); err != nil {
				return err
			}
		}
		return nil
	})
}

// tailOf adds the rows of schema 1's table of events from a row (inclusive) to another (exclusive).
func (c *conn) tailOf(ctx context.Context, t *segment.Tail, from, to int64) error {
	r, err := c.query(ctx, `SELECT tenant, "partition", seq, idx, id, source, type, subject, "time", received, identified, data, extensions
		FROM events WHERE rowid >= $1 AND rowid < $2`, from, to)
	if err != nil {
		return err
	}
	defer r.close()
	in := interner{}
	for r.next() {
		for i := range r.rows {
			ev := r.stored(i, in)
			t.Add(&ev)
		}
	}
	return nil
}
