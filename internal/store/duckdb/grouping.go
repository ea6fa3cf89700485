package duckdb

import (
	"cmp"
	"encoding/binary"
	"slices"
	"time"

	"github.com/pulsestream/pulsestream/internal/series"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

// grouping merges rows by kept labels and bucket, and gives them back in order. It is used for one stretch of time after the
// other.
type grouping struct {
	tenant tenant.ID
	metric int64
	bucket time.Duration
	lanes  map[string]*lane
	key    []byte
}

// lane holds one group's aggregates, by bucket.
type lane struct {
	labels series.Labels
	cells  []cell
}

type cell struct {
	start int64
	agg   series.Agg
}

// add merges a row whose start is in column 0 and whose labels are in the next columns.
func (g *grouping) add(r *result, row, labels int, a *series.Agg) {
	g.key = g.key[:0]
	for col := 1; col <= labels; col++ {
		v := r.view(col, row)
		g.key = append(binary.AppendUvarint(g.key, uint64(len(v))), v...)
	}
	l, ok := g.lanes[string(g.key)]
	if !ok {
		l = &lane{}
		for col := 1; col <= labels; col++ {
			l.labels = append(l.labels, r.string(col, row))
		}
		if g.lanes == nil {
			g.lanes = map[string]*lane{}
		}
		g.lanes[string(g.key)] = l
	}
	width := int64(g.bucket)
	l.add(floorDiv(r.int64(0, row), width)*width, a)
}

// add merges an aggregate into the cell of its start. Rows come nearly in order, so that is the last cell or a new one behind
// it most of the time.
func (l *lane) add(start int64, a *series.Agg) {
	n := len(l.cells)
	if n == 0 || l.cells[n-1].start < start {
		l.cells = append(l.cells, cell{start, *a})
		return
	}
	if l.cells[n-1].start == start {
		l.cells[n-1].agg.Merge(a)
		return
	}
	i, ok := slices.BinarySearchFunc(l.cells, start, func(c cell, start int64) int { return cmp.Compare(c.start, start) })
	if ok {
		l.cells[i].agg.Merge(a)
		return
	}
	l.cells = slices.Insert(l.cells, i, cell{start, *a})
}

// emit gives everything that was added, ordered by start and then by labels, and forgets it. Starts lie in n buckets from begin on.
func (g *grouping) emit(begin int64, n int, each func(*series.Rollup) error) error {
	lanes := make([]*lane, 0, len(g.lanes))
	for _, l := range g.lanes {
		lanes = append(lanes, l)
	}
	slices.SortFunc(lanes, func(a, b *lane) int { return slices.Compare(a.labels, b.labels) })
	// A counting sort: ends[i] is first how many cells bucket i has, then where its next one goes.
	ends := make([]int, n+1)
	for _, l := range lanes {
		for i := range l.cells {
			ends[(l.cells[i].start-begin)/int64(g.bucket)+1]++
		}
	}
	for i := range n {
		ends[i+1] += ends[i]
	}
	type place struct {
		labels series.Labels
		cell   *cell
	}
	order := make([]place, ends[n])
	for _, l := range lanes {
		for i := range l.cells {
			b := (l.cells[i].start - begin) / int64(g.bucket)
			order[ends[b]] = place{l.labels, &l.cells[i]}
			ends[b]++
		}
	}
	clear(g.lanes)
	for _, p := range order {
		out := series.Rollup{
			Tenant: g.tenant, Metric: g.metric, Labels: p.labels, Step: g.bucket, Start: time.Unix(0, p.cell.start).UTC(), Agg: p.cell.agg,
		}
		if err := each(&out); err != nil {
			return err
		}
	}
	return nil
}
