package postgres

import (
	"slices"
	"time"

	"github.com/pulsestream/pulsestream/internal/series"
)

// grouping merges rows that come in the order of their buckets, and gives a bucket's rollups, by labels, when the next one begins.
type grouping struct {
	out    series.Rollup // all but labels, start and aggregate
	labels int
	give   func(*series.Rollup) error

	bucket int64
	rows   []rollupRow // of the bucket, one for each group
	places map[string]int
	key    []byte
}

func (g *grouping) add(r *rollupRow) error {
	if len(g.rows) > 0 && r.bucket != g.bucket {
		if err := g.flush(); err != nil {
			return err
		}
	}
	g.bucket = r.bucket
	g.key = r.labels.AppendKey(g.key[:0])
	if at, ok := g.places[string(g.key)]; ok {
		g.rows[at].agg.Merge(&r.agg)
		return nil
	}
	g.places[string(g.key)] = len(g.rows)
	g.rows = append(g.rows, *r)
	return nil
}

func (g *grouping) flush() error {
	slices.SortFunc(g.rows, func(a, b rollupRow) int { return slices.Compare(a.labels, b.labels) })
	for i := range g.rows {
		g.out.Labels, g.out.Start, g.out.Agg = g.rows[i].labels, time.Unix(0, g.bucket).UTC(), g.rows[i].agg
		if err := g.give(&g.out); err != nil {
			return err
		}
	}
	clear(g.rows)
	g.rows = g.rows[:0]
	clear(g.places)
	return nil
}
