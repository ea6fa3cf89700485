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
// other, and keeps its memory for the next.
type grouping struct {
	tenant tenant.ID
	metric int64
	bucket time.Duration

	lanes  map[string]*lane
	sorted []*lane // by labels; only those that are in lanes
	key    []byte
	ends   []int32
	order  []place
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

// place is where the next aggregate to give back lies.
type place struct{ lane, cell int32 }

// maxLanes is how many groups are kept for the next stretch.
const maxLanes = 1 << 16

// add merges a row whose start is in column 0 and whose labels are in the next columns.
func (g *grouping) add(r *result, row, labels int, a *series.Agg) {
	g.key = g.key[:0]
	for col := 1; col <= labels; col++ {
		g.appendKey(asString(r.view(col, row)))
	}
	l := g.laneOf(func() (all series.Labels) {
		for col := 1; col <= labels; col++ {
			all = append(all, r.string(col, row))
		}
		return all
	})
	width := int64(g.bucket)
	l.add(floorDiv(r.int64(0, row), width)*width, a)
}

func (g *grouping) appendKey(label string) {
	g.key = append(binary.AppendUvarint(g.key, uint64(len(label))), label...)
}

// laneOf is the lane of the key, made for the labels if there is none.
func (g *grouping) laneOf(labels func() series.Labels) *lane {
	l, ok := g.lanes[string(g.key)]
	if !ok {
		l = &lane{labels: labels()}
		if g.lanes == nil {
			g.lanes = map[string]*lane{}
		}
		g.lanes[string(g.key)] = l
	}
	return l
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
	g.sort(begin, n)
	out := series.Rollup{Tenant: g.tenant, Metric: g.metric, Step: g.bucket}
	for _, p := range g.order {
		l := g.sorted[p.lane]
		out.Labels, out.Start, out.Agg = l.labels, time.Unix(0, l.cells[p.cell].start).UTC(), l.cells[p.cell].agg
		if err := each(&out); err != nil {
			return err
		}
	}
	for _, l := range g.sorted {
		clear(l.cells) // lets go of the sketches
		l.cells = l.cells[:0]
	}
	if len(g.lanes) > maxLanes {
		g.lanes, g.sorted = nil, nil
	}
	return nil
}

// sort puts into order what is to be given back: a counting sort by bucket over the lanes in the order of their labels.
func (g *grouping) sort(begin int64, n int) {
	if len(g.sorted) < len(g.lanes) {
		g.sorted = g.sorted[:0]
		for _, l := range g.lanes {
			g.sorted = append(g.sorted, l)
		}
		slices.SortFunc(g.sorted, func(a, b *lane) int { return slices.Compare(a.labels, b.labels) })
	}
	// ends[i] is first how many cells bucket i-1 has, then where the next one of bucket i goes.
	g.ends = slices.Grow(g.ends[:0], n+1)[:n+1]
	clear(g.ends)
	width := int64(g.bucket)
	for _, l := range g.sorted {
		for i := range l.cells {
			g.ends[(l.cells[i].start-begin)/width+1]++
		}
	}
	for i := range n {
		g.ends[i+1] += g.ends[i]
	}
	total := int(g.ends[n])
	g.order = slices.Grow(g.order[:0], total)[:total]
	for at, l := range g.sorted {
		for i := range l.cells {
			b := (l.cells[i].start - begin) / width
			g.order[g.ends[b]] = place{int32(at), int32(i)}
			g.ends[b]++
		}
	}
}
