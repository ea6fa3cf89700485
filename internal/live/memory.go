package live

import (
	"cmp"
	"slices"

	"github.com/pulsestream/pulsestream/internal/series"
)

// memory is the last minutes of one metric, second by second. With many series nearly all that happens in a second to one of them is a
// single event, so that is what takes little room: a cell without pointers, instead of an entry of a map with a key and an aggregate.
type memory struct {
	ids     map[string]uint32 // places in series, by the key of the labels
	series  []member
	seconds map[int64]*second
	newest  int64 // of seconds
	swept   int64
}

// member is a series that memory has seen. The worker bounds how many there are.
type member struct {
	labels series.Labels
	second int64  // where it was seen last
	cell   uint32 // and in which of its cells
}

// second is what happened in one second.
type second struct {
	cells []cell
	aggs  []series.Agg // of the cells that are not single
	// limit is at how many cells those that are of the same series are merged. Few are: when a series is seen in other seconds before
	// it is seen in this one again.
	limit int
}

// cell is one second of one series.
type cell struct {
	series uint32
	agg    uint32 // one more than its place in aggs; 0: it is single
	single series.Single
}

// minCells is below how many cells of a second none are merged.
const minCells = 16

func newMemory() *memory {
	return &memory{ids: map[string]uint32{}, seconds: map[int64]*second{}}
}

func (m *memory) add(d *series.Delta, key []byte, oldest int64) {
	if oldest > m.swept+10 {
		m.swept = oldest
		for s := range m.seconds {
			if s < oldest {
				delete(m.seconds, s)
			}
		}
	}
	id, ok := m.ids[string(key)]
	if !ok {
		id = uint32(len(m.series)) //nolint:gosec // far fewer
		m.ids[d.Labels.Key()] = id
		m.series = append(m.series, member{labels: d.Labels})
	}
	s := m.second(d.Second)
	of := &m.series[id]
	if n := int(of.cell); of.second == d.Second && n < len(s.cells) && s.cells[n].series == id {
		s.merge(&s.cells[n], d.Second, &d.Agg)
		return
	}
	if len(s.cells) >= s.limit {
		s.compact(d.Second)
	}
	of.second, of.cell = d.Second, uint32(len(s.cells)) //nolint:gosec // far fewer
	s.cells = append(s.cells, cell{series: id})
	s.set(&s.cells[of.cell], d.Second, &d.Agg)
}

// second finds or makes a second. The newest mostly gets as many cells as the one before it.
func (m *memory) second(at int64) *second {
	s := m.seconds[at]
	if s != nil {
		return s
	}
	s = &second{limit: minCells}
	if at > m.newest {
		if last := m.seconds[m.newest]; last != nil {
			s.cells, s.aggs = make([]cell, 0, len(last.cells)), make([]series.Agg, 0, len(last.aggs))
			s.limit = max(minCells, min(last.limit, 2*len(last.cells)))
		}
		m.newest = at
	}
	m.seconds[at] = s
	return s
}

// set gives a new cell its aggregate.
func (s *second) set(c *cell, at int64, a *series.Agg) {
	if one, ok := a.Single(at); ok {
		c.single = one
		return
	}
	var own series.Agg
	own.Merge(a)
	s.spell(c, own)
}

func (s *second) spell(c *cell, a series.Agg) {
	s.aggs = append(s.aggs, a)
	c.agg = uint32(len(s.aggs)) //nolint:gosec // far fewer
}

// merge adds to a cell.
func (s *second) merge(c *cell, at int64, a *series.Agg) {
	if c.agg == 0 {
		s.spell(c, c.single.Agg(at))
	}
	s.aggs[c.agg-1].Merge(a)
}

// compact merges the cells that are of the same series. It is done when there are twice as many as it left the last time.
func (s *second) compact(at int64) {
	slices.SortFunc(s.cells, func(a, b cell) int { return cmp.Compare(a.series, b.series) })
	old := second{cells: s.cells, aggs: s.aggs}
	s.cells, s.aggs = s.cells[:0], make([]series.Agg, 0, len(s.aggs))
	for i := range old.cells {
		c := old.cells[i]
		if n := len(s.cells); n > 0 && s.cells[n-1].series == c.series {
			a := old.agg(&c, at)
			s.merge(&s.cells[n-1], at, &a)
			continue
		}
		if c.agg > 0 {
			s.spell(&c, old.aggs[c.agg-1])
		}
		s.cells = append(s.cells, c)
	}
	s.limit = max(minCells, 2*len(s.cells))
}

// agg is a cell's aggregate; its sketches are still the cell's.
func (s *second) agg(c *cell, at int64) series.Agg {
	if c.agg == 0 {
		return c.single.Agg(at)
	}
	return s.aggs[c.agg-1]
}

// since shows all from a second on; what it shows must only be read, and not kept.
func (m *memory) since(first int64, show func(labels series.Labels, second int64, agg *series.Agg)) {
	var a series.Agg
	for at, s := range m.seconds {
		if at < first {
			continue
		}
		for i := range s.cells {
			c := &s.cells[i]
			a = s.agg(c, at)
			show(m.series[c.series].labels, at, &a)
		}
	}
}
