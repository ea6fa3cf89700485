package duckdb

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/pulsestream/pulsestream/internal/series"
	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

// youngCell is a rollup that is not in the tables yet.
type youngCell struct {
	bucket int64         // number of the query's bucket since the epoch
	labels series.Labels // the kept ones
	agg    series.Agg
}

// merged reads rollups: the tables as they are at one moment, and what commits have brought that is not in them, by bucket.
func (s *Store) merged(ctx context.Context, t tenant.ID, q *store.RollupQuery, reader func(c *conn, young []youngCell) error) error {
	return s.read(ctx, func(c *conn) error {
		young, err := s.beginMerged(ctx, c, t, q)
		if err != nil {
			return err
		}
		if err := reader(c, young); err != nil {
			return err // and the connection is not used again
		}
		_, err = c.exec(`ROLLBACK`)
		return err
	})
}

// beginMerged begins a transaction and takes from memory what is younger.
func (s *Store) beginMerged(ctx context.Context, c *conn, t tenant.ID, q *store.RollupQuery) ([]youngCell, error) {
	var young []youngCell
	err := s.begin(ctx, c, func(r *recent) {
		if of := r.rollups[metricKey{t, q.Metric}]; of != nil {
			young = of.collect(young, q)
		}
	})
	slices.SortStableFunc(young, func(a, b youngCell) int { return cmp.Compare(a.bucket, b.bucket) })
	return young, err
}

// begin begins a transaction, whose snapshot is that of its first query, and shows what is not in it, oldest first.
func (s *Store) begin(ctx context.Context, c *conn, show func(*recent)) error {
	s.mem.handover.RLock()
	defer s.mem.handover.RUnlock()
	if _, err := c.exec(`BEGIN`); err != nil {
		return err
	}
	flushed, err := c.number(ctx, `SELECT number FROM flushed`)
	if err != nil {
		return err
	}
	s.mem.mu.Lock()
	defer s.mem.mu.Unlock()
	for _, r := range s.mem.recents(flushed) {
		show(r)
	}
	return nil
}

// collect appends copies of the cells that a query asks for.
func (r *recentRollups) collect(young []youngCell, q *store.RollupQuery) []youngCell {
	for _, cell := range r.cells {
		start := cell.Start
		if q.Step > time.Minute {
			start = series.Align(start, q.Step)
		}
		if !q.From.IsZero() && start.Before(q.From) || !q.To.IsZero() && !start.Before(q.To) || !wanted(cell.Labels, q.Where) {
			continue
		}
		y := youngCell{bucket: floorDiv(start.UnixNano(), int64(q.Bucket)), labels: make(series.Labels, len(q.GroupBy))}
		for i, index := range q.GroupBy {
			if index < len(cell.Labels) {
				y.labels[i] = cell.Labels[index]
			}
		}
		if q.Scalars {
			y.agg = cell.Agg.Scalars()
		} else {
			y.agg.Merge(&cell.Agg)
		}
		young = append(young, y)
	}
	return young
}

// wanted says whether labels are among those that a query is restricted to.
func wanted(labels series.Labels, where map[int][]string) bool {
	for i, values := range where {
		if i >= len(labels) || !slices.Contains(values, labels[i]) {
			return false
		}
	}
	return true
}

// addYoung merges a cell that is not in the tables yet.
func (g *grouping) addYoung(y *youngCell) {
	g.key = g.key[:0]
	for _, l := range y.labels {
		g.appendKey(l)
	}
	g.laneOf(func() series.Labels { return y.labels }).add(y.bucket*int64(g.bucket), &y.agg)
}
