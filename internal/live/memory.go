package live

import (
	"cmp"
	"slices"

	"github.com/pulsestream/pulsestream/internal/series"
)

// memory is the last minutes of one metric, second by second. With many series nearly all that happens in a second to one of them is a
// single event, so that is what takes little room: a cell without pointers, instead of an entry of a map with a key and an aggregate. With
// many events it is sketches that take it, so those of seconds that are over are packed.
type memory struct {
	ids     map[string]uint32 // places in series, by the key of the labels
	series  []member
	seconds map[int64]*second
	newest  int64 // of seconds
	swept   int64
	loose   []int64      // seconds that have aggregates that are not packed
	spare   []series.Agg // empty ones of a packed second, behind its length, for their memory
	encoded []byte       // where aggregates are packed
	key     []byte       // scratch
}

// member is a series that memory has seen. The worker bounds how many there are.
type member struct {
	labels series.Labels
	// seen is where it was seen last, in seconds that are even and in those that are odd: what comes together is mostly of two that follow each other.
	seen [2]sighting
}

// sighting is a second and one of its cells.
type sighting struct {
	second int64
	cell   uint32
}

// second is what happened in one second.
type second struct {
	cells  []cell
	packed []byte       // the first aggregates of the cells that are not single, encoded one behind the other
	folded uint32       // how many these are
	aggs   []series.Agg // those that came later
	// limit is at how many cells those that are of the same series are merged. Few are: when a series is seen in other seconds before
	// it is seen in this one again, or in one that was packed.
	limit  int
	raised bool // the limit leaves room for what comes after the second is over
	loose  bool // it is among memory's
}

// cell is one second of one series.
type cell struct {
	series uint32
	agg    uint32 // one more than its place among the second's aggregates; 0: it is single
	single series.Single
}

const (
	// minCells is below how many cells of a second none are merged.
	minCells = 16
	// over is how many seconds after a second hardly anything of it comes any more.
	over = 5
)

func newMemory() *memory {
	return &memory{ids: map[string]uint32{}, seconds: map[int64]*second{}}
}

func (m *memory) add(d *series.Delta, oldest int64) {
	if oldest > m.swept+10 {
		m.sweep(oldest)
	}
	id := m.place(d)
	s := m.second(d.Second)
	if !s.loose {
		s.loose = true
		m.loose = append(m.loose, d.Second)
	}
	of := &m.series[id].seen[d.Second&1]
	if n := int(of.cell); of.second == d.Second && n < len(s.cells) && s.cells[n].series == id && !s.isPacked(&s.cells[n]) {
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

// place is where the series is among those of the memory.
func (m *memory) place(d *series.Delta) uint32 {
	if d.Place != nil {
		if id := *d.Place; int(id) < len(m.series) && same(m.series[id].labels, d.Labels) {
			return id
		}
	}
	m.key = d.Labels.AppendKey(m.key[:0])
	id, ok := m.ids[string(m.key)]
	if !ok {
		id = uint32(len(m.series)) //nolint:gosec // far fewer
		m.ids[string(m.key)] = id
		m.series = append(m.series, member{labels: d.Labels})
	}
	if d.Place != nil {
		*d.Place, m.series[id].labels = id, d.Labels // they are equal, and from now on the same
	}
	return id
}

// same says that the labels are the same memory; if not, they may be equal all the same.
func same(a, b series.Labels) bool {
	return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0])
}

// sweep forgets what is too old.
func (m *memory) sweep(oldest int64) {
	m.swept = oldest
	for s := range m.seconds {
		if s < oldest {
			delete(m.seconds, s)
		}
	}
	m.loose = slices.DeleteFunc(m.loose, func(s int64) bool { return s < oldest })
}

// second finds or makes a second. The newest mostly gets as many cells as the one before it.
func (m *memory) second(at int64) *second {
	s := m.seconds[at]
	if s != nil {
		return s
	}
	m.pack(at - over)
	s = &second{limit: minCells, aggs: m.spare}
	m.spare = nil
	if at > m.newest {
		if last := m.seconds[m.newest]; last != nil {
			s.cells = make([]cell, 0, len(last.cells))
			s.limit = max(minCells, min(last.limit, 2*len(last.cells)))
			if s.aggs == nil {
				s.aggs = make([]series.Agg, 0, len(last.aggs))
			}
		}
		m.newest = at
	}
	m.seconds[at] = s
	return s
}

// pack packs the seconds before one.
func (m *memory) pack(before int64) {
	m.loose = slices.DeleteFunc(m.loose, func(at int64) bool {
		if at >= before {
			return false
		}
		s := m.seconds[at]
		s.loose = false
		if !s.raised { // else what trickles in for minutes would never be merged
			s.limit, s.raised = max(s.limit, len(s.cells)+minCells), true
		}
		s.cells = slices.Clone(s.cells) // without room for more
		m.encoded = append(m.encoded[:0], s.packed...)
		for i := range s.aggs {
			m.encoded = s.aggs[i].Append(m.encoded)
			s.aggs[i].Reset()
		}
		s.folded += uint32(len(s.aggs)) //nolint:gosec // far fewer
		if len(m.encoded) > 0 {
			s.packed = slices.Clone(m.encoded)
		}
		if cap(s.aggs) > cap(m.spare) {
			m.spare = s.aggs[:0]
		}
		s.aggs = nil
		return true
	})
}

// isPacked says that a cell can't be merged into.
func (s *second) isPacked(c *cell) bool { return c.agg > 0 && c.agg <= s.folded }

// set gives a new cell its aggregate.
func (s *second) set(c *cell, at int64, a *series.Agg) {
	if one, ok := a.Single(at); ok {
		c.single = one
		return
	}
	s.spell(c).Merge(a)
}

// spell gives a cell an aggregate, which is empty.
func (s *second) spell(c *cell) *series.Agg {
	n := len(s.aggs)
	if n < cap(s.aggs) {
		s.aggs = s.aggs[:n+1]
	} else {
		s.aggs = append(s.aggs, series.Agg{})
	}
	c.agg = s.folded + uint32(n) + 1 //nolint:gosec // far fewer
	return &s.aggs[n]
}

// merge adds to a cell.
func (s *second) merge(c *cell, at int64, a *series.Agg) {
	if c.agg == 0 {
		own := c.single.Agg(at)
		s.spell(c).Merge(&own)
	}
	s.aggs[c.agg-s.folded-1].Merge(a)
}

// compact merges the cells that are of the same series. It is done when there are twice as many as it left the last time.
func (s *second) compact(at int64) {
	slices.SortFunc(s.cells, func(a, b cell) int { return cmp.Compare(a.series, b.series) })
	cells, all := s.cells, s.all()
	*s = second{cells: s.cells[:0], aggs: make([]series.Agg, 0, len(all)), loose: s.loose, raised: true}
	for i := range cells {
		c := cells[i]
		if n := len(s.cells); n > 0 && s.cells[n-1].series == c.series {
			a := c.of(all, at)
			s.merge(&s.cells[n-1], at, &a)
			continue
		}
		if c.agg > 0 {
			a := &all[c.agg-1]
			*s.spell(&c) = *a
		}
		s.cells = append(s.cells, c)
	}
	s.limit = max(minCells, 2*len(s.cells))
}

// all are the second's aggregates, in the order of which cells know them; their sketches are still the second's.
func (s *second) all() []series.Agg {
	if s.folded == 0 {
		return s.aggs
	}
	all := make([]series.Agg, s.folded, int(s.folded)+len(s.aggs))
	b := s.packed
	for i := range all {
		var err error
		if all[i], b, err = series.ReadAgg(b); err != nil {
			break // not reached: it is its own form
		}
	}
	return append(all, s.aggs...)
}

// of is a cell's aggregate, of all that its second has.
func (c *cell) of(all []series.Agg, at int64) series.Agg {
	if c.agg == 0 {
		return c.single.Agg(at)
	}
	return all[c.agg-1]
}

// since shows all from a second on; what it shows must only be read, and not kept.
func (m *memory) since(first int64, show func(labels series.Labels, second int64, agg *series.Agg)) {
	var a series.Agg
	for at, s := range m.seconds {
		if at < first {
			continue
		}
		all := s.all()
		for i := range s.cells {
			c := &s.cells[i]
			a = c.of(all, at)
			show(m.series[c.series].labels, at, &a)
		}
	}
}
