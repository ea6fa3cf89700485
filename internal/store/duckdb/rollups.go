package duckdb

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/pulsestream/pulsestream/internal/series"
	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

const (
	scalarColumns = `count, "values", sum, min, max, last, last_at`
	aggColumns    = scalarColumns + `, sketches`
)

// rollupPace divides the time of a query so that what is held at once, some 32 k rows, stays within the processor's cache.
func rollupPace(stepsPerBucket int64) pace {
	return pace{width: uint64(max(1, 64/stepsPerBucket)), most: 1 << 16, rows: 1 << 15}
}

// Rollups implements store.Events. Rows are merged here and not by a GROUP BY: with 100 series that takes half the time, and quantiles
// can be merged nowhere else.
func (s *Store) Rollups(ctx context.Context, t tenant.ID, q store.RollupQuery, each func(*series.Rollup) error) error {
	res, err := resolutionOf(q.Step)
	if err != nil {
		return err
	}
	if q.Bucket == 0 {
		q.Bucket = q.Step
	}
	if q.Bucket < q.Step || q.Bucket%q.Step != 0 {
		return fmt.Errorf("rollups: a bucket of %v is not a multiple of the step %v", q.Bucket, q.Step)
	}
	for _, i := range q.GroupBy {
		if i < 0 {
			return fmt.Errorf("rollups: %d is not the index of a label", i)
		}
	}
	return s.merged(ctx, t, &q, func(c *conn, young []youngCell) error {
		first, last, err := c.buckets(ctx, res, t, &q)
		if err != nil {
			return err
		}
		if len(young) > 0 {
			if first > last {
				first, last = young[0].bucket, young[0].bucket
			}
			first, last = min(first, young[0].bucket), max(last, young[len(young)-1].bucket)
		}
		if first > last {
			return nil
		}
		g := grouping{tenant: t, metric: q.Metric, bucket: q.Bucket}
		rowsOf := func(q *store.RollupQuery, from, to uint64) (where, int64) {
			w, begin := rollupRows(t, q), (first+int64(from))*int64(q.Bucket)               //nolint:gosec // from is within last-first
			w.and(`start >= %s AND start < %s`, begin, (first+int64(to)+1)*int64(q.Bucket)) //nolint:gosec // and so is to
			return w, begin
		}
		rows := func(from, to uint64) (where, int64) { return rowsOf(&q, from, to) }
		// fresh are the rows of minutes that are not in the tables of longer steps yet.
		minutes := q
		minutes.From, minutes.To = alignUp(q.From, res.step), alignUp(q.To, res.step)
		fresh := func(from, to uint64) (where, int64) {
			w, begin := rowsOf(&minutes, from, to)
			w.sql += ` AND gen > 0`
			return w, begin
		}
		count := func(from, to uint64) (int, error) {
			w, _ := rows(from, to)
			n, err := c.number(ctx, `SELECT count(*) FROM `+res.table+` WHERE `+w.sql, w.args...)
			return int(n), err
		}
		span := uint64(last - first) //nolint:gosec // not negative: checked above
		return rollupPace(int64(q.Bucket/q.Step)).divide(0, span, count, func(from, to uint64) (int, error) {
			w, begin := rows(from, to)
			n, err := c.gather(ctx, res, &q, w, &g)
			if err != nil {
				return 0, err
			}
			if res.table != minutesTable {
				w, _ := fresh(from, to)
				if _, err := c.gather(ctx, resolution{time.Minute, minutesTable}, &q, w, &g); err != nil {
					return 0, err
				}
			}
			for len(young) > 0 && young[0].bucket <= first+int64(to) { //nolint:gosec // to is within last-first
				g.addYoung(&young[0])
				young = young[1:]
			}
			return n, g.emit(begin, int(to-from)+1, each) //nolint:gosec // at most pace.most
		})
	})
}

// buckets gives the first and the last bucket, by number since the epoch, in which there can be rows. A long range is narrowed to
// what is stored.
func (c *conn) buckets(ctx context.Context, res resolution, t tenant.ID, q *store.RollupQuery) (first, last int64, err error) {
	const long = 1 << 12
	width := int64(q.Bucket)
	if !q.From.IsZero() && !q.To.IsZero() {
		first, last = floorDiv(q.From.UnixNano(), width), floorDiv(q.To.UnixNano()-1, width)
		if last-first < long {
			return first, last, nil
		}
	}
	first, last, err = c.stored(ctx, res.table, rollupRows(t, q), width)
	if err != nil || res.table == minutesTable {
		return first, last, err
	}
	minutes := *q
	minutes.From, minutes.To = alignUp(q.From, res.step), alignUp(q.To, res.step)
	w := rollupRows(t, &minutes)
	w.sql += ` AND gen > 0`
	from, to, err := c.stored(ctx, minutesTable, w, width)
	switch {
	case err != nil || from > to:
		return first, last, err
	case first > last:
		return from, to, nil
	}
	return min(first, from), max(last, to), nil
}

// stored is the first and the last bucket of the rows that w selects; the last before the first when there are none.
func (c *conn) stored(ctx context.Context, table string, w where, width int64) (first, last int64, err error) {
	r, err := c.query(ctx, `SELECT min(start), max(start) FROM `+table+` WHERE `+w.sql, w.args...)
	if err != nil {
		return 0, 0, err
	}
	defer r.close()
	if !r.next() || r.null(0, 0) {
		return 0, -1, nil
	}
	return floorDiv(r.int64(0, 0), width), floorDiv(r.int64(1, 0), width), nil
}

// alignUp is the first multiple of step at or after t; no time stays none.
func alignUp(t time.Time, step time.Duration) time.Time {
	if a := series.Align(t, step); !t.IsZero() && a.Before(t) {
		return a.Add(step)
	}
	return t
}

// rollupRows is the predicate of the rows that a query is about.
func rollupRows(t tenant.ID, q *store.RollupQuery) where {
	w := ofTenant(t)
	w.and(`metric = %s`, q.Metric)
	if !q.From.IsZero() {
		w.and(`start >= %s`, q.From.UnixNano())
	}
	if !q.To.IsZero() {
		w.and(`start < %s`, q.To.UnixNano())
	}
	for _, i := range slices.Sorted(maps.Keys(q.Where)) {
		values := q.Where[i]
		w.any(len(values), func(n int) string { return label(i) + ` = ` + w.param(values[n]) })
	}
	return w
}

// label is the SQL of a label by its index, null when there are fewer.
func label(i int) string { return `labels[` + strconv.Itoa(i+1) + `]` }

// gather reads the rows that w selects into g, and says how many there were.
func (c *conn) gather(ctx context.Context, res resolution, q *store.RollupQuery, w where, g *grouping) (int, error) {
	sql := `SELECT start`
	for _, i := range q.GroupBy {
		sql += `, ` + label(i)
	}
	if q.Scalars {
		sql += `, ` + scalarColumns
	} else {
		sql += `, ` + aggColumns
	}
	r, err := c.query(ctx, sql+` FROM `+res.table+` WHERE `+w.sql, w.args...)
	if err != nil {
		return 0, err
	}
	defer r.close()
	n := 0
	for ; r.next(); n += r.rows {
		for i := range r.rows {
			a, err := r.agg(1+len(q.GroupBy), i, !q.Scalars)
			if err != nil {
				return n, fmt.Errorf("rollup of metric %d: %w", q.Metric, err)
			}
			g.add(r, i, len(q.GroupBy), &a)
		}
	}
	return n, nil
}

// agg reads an aggregate from scalarColumns, or from aggColumns, that begin at col.
func (r *result) agg(col, row int, sketches bool) (series.Agg, error) {
	a := series.Agg{Count: r.uint64(col, row), Values: r.uint64(col+1, row), Sum: r.float64(col+2, row)}
	if a.Values > 0 {
		a.Min, a.Max, a.Last, a.LastAt = r.float64(col+3, row), r.float64(col+4, row), r.float64(col+5, row), r.int64(col+6, row)
	}
	if !sketches {
		return a, nil
	}
	return a, a.SetSketches(r.view(col+7, row))
}

// floorDiv divides, rounding down also below zero.
func floorDiv(n, by int64) int64 {
	d := n / by
	if n%by < 0 {
		d--
	}
	return d
}
