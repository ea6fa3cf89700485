package query

import (
	"slices"
	"time"

	"github.com/pulsestream/pulsestream/internal/metric"
	"github.com/pulsestream/pulsestream/internal/series"
	"github.com/pulsestream/pulsestream/internal/store"
)

// level is the groups by the first dimensions of a query's group_by: each is one of the level before, with one more label.
type level struct {
	ids   map[uint64]uint32
	nodes []node
	// few are the numbers, plus one, of groups whose own numbers are below fewLabels: quicker than the map.
	few []uint32
}

const fewLabels = 256

type node struct{ before, label uint32 }

// forget drops all groups; they must have been flushed.
func (s *columnScan) forget() {
	s.levels = make([]level, len(s.keep))
	for i := range s.levels {
		s.levels[i].ids = map[uint64]uint32{}
		if i > 0 {
			s.levels[i].few = make([]uint32, fewLabels*fewLabels)
		} else {
			s.levels[i].few = make([]uint32, fewLabels)
		}
	}
	s.cells = s.cells[:0]
	if len(s.keep) == 0 {
		s.cells = append(s.cells, cell{labels: series.Labels{}})
	}
	for i := range s.keep {
		s.keep[i].ids, s.keep[i].names = map[string]uint32{}, nil
		s.keep[i].memo = memo[uint32]{}
	}
}

// group finds the group of each row that is left.
func (s *columnScan) group(b *store.ColumnBlock) {
	s.groups = slices.Grow(s.groups[:0], len(s.rows))[:len(s.rows)]
	clear(s.groups)
	for k := range s.keep {
		d := &s.keep[k]
		col := s.column(b, d.x)
		id := func(raw []byte) uint32 { return d.id(s.eval.Label(s.plan, d.x, raw)) }
		table := d.memo.of(&col, id)
		var last node
		var group uint32
		for n, i := range s.rows {
			at := node{before: s.groups[n]}
			switch {
			case col.Numbers != nil:
				at.label = id(numberJSON(col.Numbers[i]))
			case col.Codes != nil:
				at.label = table[col.Codes[i]]
			default:
				at.label = table[0]
			}
			if n == 0 || at != last {
				group, last = s.next(k, at), at
			}
			s.groups[n] = group
		}
	}
}

func (d *dimension) id(label string) uint32 {
	n, ok := d.ids[label]
	if !ok {
		n = uint32(len(d.names)) //nolint:gosec // fewer than there are events
		d.ids[label] = n
		d.names = append(d.names, label)
	}
	return n
}

// next is the number of a group of the first k+1 dimensions; of all of them, it is that of its cell.
func (s *columnScan) next(k int, at node) uint32 {
	l := &s.levels[k]
	if at.before < fewLabels && at.label < fewLabels {
		n := &l.few[at.before*fewLabels+at.label]
		if *n == 0 {
			*n = s.find(k, at) + 1
		}
		return *n - 1
	}
	return s.find(k, at)
}

func (s *columnScan) find(k int, at node) uint32 {
	l := &s.levels[k]
	key := uint64(at.before)<<32 | uint64(at.label)
	if n, ok := l.ids[key]; ok {
		return n
	}
	n := uint32(len(l.nodes)) //nolint:gosec // fewer than there are events
	l.ids[key] = n
	l.nodes = append(l.nodes, at)
	if k == len(s.keep)-1 {
		labels := make(series.Labels, len(s.keep))
		for ; k >= 0; k-- {
			labels[k] = s.keep[k].names[at.label]
			if k > 0 {
				at = s.levels[k-1].nodes[at.before]
			}
		}
		s.cells = append(s.cells, cell{labels: labels})
	}
	return n
}

// add aggregates the rows that are left.
func (s *columnScan) add(b *store.ColumnBlock) error {
	if x := s.value.x; x != nil && s.scalars && (x.Plain || x.Linear) && x.Field >= 0 && b.Columns[x.Field].Numbers != nil {
		return s.addNumbers(b, b.Columns[x.Field].Numbers, x)
	}
	observe := s.observer(b)
	width := int64(s.c.step)
	begin, end := int64(0), int64(0)
	for n, i := range s.rows {
		o, ok := observe(i)
		if !ok {
			continue
		}
		t := b.Times[i]
		if t < begin || t >= end {
			begin = t - mod(t, width)
			end = begin + width
		}
		c := &s.cells[s.groups[n]]
		if c.agg.Count > 0 && c.begin != begin {
			if err := s.settle(c); err != nil {
				return err
			}
		}
		c.begin = begin
		if s.scalars {
			addScalar(&c.agg, o, t)
			continue
		}
		full := *o
		full.At = time.Unix(0, t)
		add(&c.agg, full, s.run.q.Agg)
	}
	return nil
}

// addNumbers is add for the most frequent case.
func (s *columnScan) addNumbers(b *store.ColumnBlock, numbers []float64, x *metric.FieldExpression) error {
	times, over := 1.0, 1.0
	if x.Linear {
		times, over = x.Times, x.Over
	}
	width := int64(s.c.step)
	begin, end := int64(0), int64(0)
	for n, i := range s.rows {
		v := numbers[i]*times/over + 0 // -0 becomes 0
		if v-v != 0 {                  // not finite
			continue
		}
		t := b.Times[i]
		if t < begin || t >= end {
			begin = t - mod(t, width)
			end = begin + width
		}
		c := &s.cells[s.groups[n]]
		if c.begin != begin {
			if c.agg.Count > 0 {
				if err := s.settle(c); err != nil {
					return err
				}
			}
			c.begin = begin
		}
		a := &c.agg
		if a.Count == 0 {
			a.Min, a.Max, a.Last, a.LastAt = v, v, v, t
		}
		a.Count++
		a.Values++
		a.Sum += v
		a.Min, a.Max = min(a.Min, v), max(a.Max, v)
		if t > a.LastAt || t == a.LastAt && v > a.Last {
			a.Last, a.LastAt = v, t
		}
	}
	return nil
}

// observer tells what rows of a block add.
func (s *columnScan) observer(b *store.ColumnBlock) func(row uint32) (*series.Observation, bool) {
	var o series.Observation
	if x := s.value.x; x != nil {
		col := s.column(b, x)
		if col.Numbers != nil {
			number := x.Number
			if !x.Plain && !x.Linear {
				number = func(f float64) (series.Observation, bool) { return s.eval.Observe(s.plan, x, numberJSON(f)) }
			}
			return func(row uint32) (*series.Observation, bool) {
				var ok bool
				o, ok = number(col.Numbers[row])
				return &o, ok
			}
		}
		table := s.value.memo.of(&col, func(raw []byte) (v observed) {
			v.Observation, v.ok = s.eval.Observe(s.plan, x, raw)
			return v
		})
		return func(row uint32) (*series.Observation, bool) {
			v := &table[0]
			if col.Codes != nil {
				v = &table[col.Codes[row]]
			}
			return &v.Observation, v.ok
		}
	}
	if s.subject < 0 {
		return func(uint32) (*series.Observation, bool) { return &o, true }
	}
	col := b.Columns[s.subject]
	table := s.value.memo.of(&col, func(raw []byte) observed { return observed{metric.Subject(string(raw)), true} })
	return func(row uint32) (*series.Observation, bool) {
		v := &table[0]
		if col.Codes != nil {
			v = &table[col.Codes[row]]
		}
		return &v.Observation, true
	}
}

// addScalar counts an observation without its sketches, which are most of the work.
func addScalar(a *series.Agg, o *series.Observation, at int64) {
	a.Count++
	if !o.Numeric {
		return
	}
	v := o.Value
	if a.Values == 0 {
		a.Min, a.Max, a.Last, a.LastAt = v, v, v, at
	}
	a.Values++
	a.Sum += v
	a.Min, a.Max = min(a.Min, v), max(a.Max, v)
	if at > a.LastAt || at == a.LastAt && v > a.Last {
		a.Last, a.LastAt = v, at
	}
}

// settle hands over what a cell has of its step.
func (s *columnScan) settle(c *cell) error {
	agg, err := s.c.atStep(s.c.bounded(c.labels), c.begin)
	if agg != nil {
		agg.Merge(&c.agg)
	}
	c.agg = series.Agg{}
	return err
}

// flush hands over what all cells have.
func (s *columnScan) flush() error {
	for i := range s.cells {
		if s.cells[i].agg.Count == 0 {
			continue
		}
		if err := s.settle(&s.cells[i]); err != nil {
			return err
		}
	}
	return nil
}
