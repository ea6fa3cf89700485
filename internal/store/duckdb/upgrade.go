package duckdb

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/pulsestream/pulsestream/internal/series"
	"github.com/pulsestream/pulsestream/internal/store/segment"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

// upgrade brings a file of an earlier release up to date: of schema 1, which had the events in a table, of schema 2, which had the rollups in tables, and of
// schema 3, which did not count usage: that is counted from then on. Its number also keeps releases that cannot read the segments that are made from now on from
// taking them for damaged ones. What was in tables becomes sealed files. Each step changes the DuckDB file in one transaction at its end; whatever ends the process before, the
// next start begins that step anew.
func (s *Store) upgrade(ctx context.Context, version int64) error {
	s.log.Info("events store: its file is of an earlier release, and is brought up to date", slog.Int64("version", version))
	if version < 2 {
		if err := s.upgradeEvents(ctx); err != nil {
			return err
		}
	}
	if version < 3 {
		if err := s.upgradeRollups(ctx); err != nil {
			return err
		}
	}
	return s.taken(ctx, rollupFiles(), nil, schemaVersion, usageTable)
}

// stretches calls each for one stretch of a table's rows after the other.
func (s *Store) stretches(ctx context.Context, table string, rows int64, each func(from, to int64) error) error {
	n, err := s.writer.number(ctx, `SELECT count(*) FROM `+table)
	if err != nil || n == 0 {
		return err
	}
	last, err := s.writer.number(ctx, `SELECT max(rowid) FROM `+table)
	if err != nil {
		return err
	}
	for from := int64(0); from <= last; from += rows {
		if err := each(from, from+rows); err != nil {
			return err
		}
		s.log.Info("events store: upgrading", slog.String("table", table), slog.Float64("progress", float64(min(last+1, from+rows))/float64(last+1)))
	}
	return nil
}

// taken writes an upgrade's files and version.
func (s *Store) taken(ctx context.Context, k kind, entries []fileEntry, version int, statements ...string) error {
	return s.write(ctx, func(c *conn, _ int64) error {
		for _, sql := range append(statements, fmt.Sprintf(`UPDATE schema_version SET version = %d`, version)) {
			if err := c.exec(sql); err != nil {
				return err
			}
		}
		for _, e := range entries {
			if err := c.addFile(k, e); err != nil {
				return err
			}
		}
		return nil
	})
}

func (s *Store) upgradeEvents(ctx context.Context) error {
	var entries []fileEntry
	err := s.stretches(ctx, "events", mergedRows, func(from, to int64) error {
		t := &segment.Tail{Memory: &s.mem.slabs}
		defer t.Free()
		if err := s.writer.tailOf(ctx, t, from, to); err != nil || t.Len() == 0 {
			return err
		}
		seg, e, err := s.seal(s.builder, t)
		if err != nil {
			return err
		}
		entries = append(entries, e)
		return seg.Release()
	})
	if err != nil {
		return err
	}
	return s.taken(ctx, eventFiles(), entries, 2, eventFiles().schema(), flushedTable, flushedRow, `DROP TABLE events`)
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

// upgradeRollups takes the minutes, of which hours and days follow.
func (s *Store) upgradeRollups(ctx context.Context) error {
	var entries []fileEntry
	err := s.stretches(ctx, "rollup_1m", longRows, func(from, to int64) error {
		r := newRecent(0, flushBytes, nil)
		if err := s.writer.minutesOf(ctx, r, from, to); err != nil || r.cells == 0 {
			return err
		}
		f, e, err := s.sealRollups(r.minutes())
		if err != nil {
			return err
		}
		entries = append(entries, e)
		return f.Release()
	})
	if err != nil {
		return err
	}
	return s.taken(ctx, rollupFiles(), entries, 3, rollupFiles().schema(), `DROP TABLE rollup_1m`, `DROP TABLE rollup_1h`, `DROP TABLE rollup_1d`)
}

// minutesOf adds the rows of schema 2's table of minutes from a row (inclusive) to another (exclusive).
func (c *conn) minutesOf(ctx context.Context, to *recent, from, end int64) error {
	r, err := c.query(ctx, `SELECT tenant, metric, start, labels, count, "values", sum, min, max, last, last_at, sketches
		FROM rollup_1m WHERE rowid >= $1 AND rowid < $2`, from, end)
	if err != nil {
		return err
	}
	defer r.close()
	in := interner{}
	var row [1]series.Rollup
	for r.next() {
		for i := range r.rows {
			u := series.Rollup{Tenant: tenant.ID(in.string(r.view(0, i))), Metric: r.int64(1, i), Step: time.Minute, Start: time.Unix(0, r.int64(2, i)).UTC()}
			r.list(3, i, func(item []byte) { u.Labels = append(u.Labels, in.string(item)) })
			u.Agg.Count, u.Agg.Values, u.Agg.Sum = r.uint64(4, i), r.uint64(5, i), r.float64(6, i)
			if u.Agg.Values > 0 {
				u.Agg.Min, u.Agg.Max, u.Agg.Last, u.Agg.LastAt = r.float64(7, i), r.float64(8, i), r.float64(9, i), r.int64(10, i)
			}
			if err := u.Agg.SetSketches(r.view(11, i)); err != nil {
				return fmt.Errorf("rollup of metric %d: %w", u.Metric, err)
			}
			row[0] = u
			to.addRollups(row[:])
		}
	}
	return nil
}
