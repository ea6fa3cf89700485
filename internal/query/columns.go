package query

import (
	"context"
	"math"
	"slices"
	"strconv"
	"sync"

	"github.com/pulsestream/pulsestream/internal/metric"
	"github.com/pulsestream/pulsestream/internal/series"
	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

// Columns is the part of store.Columns that queries use. Without it raw events are read one by one.
type Columns interface {
	ScanColumns(ctx context.Context, t tenant.ID, q store.ColumnScan, each func(*store.ColumnBlock) error) error
}

// columnPlan is a program taken apart, or the knowledge that it cannot be.
type columnPlan struct {
	columnar *metric.Columnar
	ok       bool
}

// columnPlans remembers plans: to make one compiles.
type columnPlans struct {
	mu    sync.Mutex
	plans map[*metric.Program]columnPlan
}

const maxPlans = 1000

func (c *columnPlans) of(p *metric.Program) (*metric.Columnar, bool) {
	c.mu.Lock()
	plan, found := c.plans[p]
	c.mu.Unlock()
	if found {
		return plan.columnar, plan.ok
	}
	plan.columnar, plan.ok = p.Columnar()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.plans == nil || len(c.plans) >= maxPlans {
		c.plans = map[*metric.Program]columnPlan{}
	}
	c.plans[p] = plan
	return plan.columnar, plan.ok
}

// columnScan computes a query from blocks: a look-up in a table by dictionary code takes the place of evaluating an expression.
// Each distinct value is evaluated once.
type columnScan struct {
	run     *run
	c       *collector
	plan    *metric.Columnar
	eval    metric.FieldEvaluator
	scalars bool
	fields  []store.ColumnField
	filters []filter
	keep    []dimension // of the query's group_by
	value   valueTable
	subject int // the field whose distinct values are counted when there is no value; -1: none
	levels  []level
	cells   []cell   // of the groups
	read    int      // rows of columns
	rows    []uint32 // that pass the filters
	groups  []uint32 // of these
	tail    raw
}

// memo remembers by value what an expression comes to.
type memo[T any] struct {
	known map[string]T
	table []T // of a block's codes
}

// maxMemo is how many values are remembered.
const maxMemo = 1 << 16

// of makes the table of a column.
func (m *memo[T]) of(col *store.Column, eval func(raw []byte) T) []T {
	m.table = m.table[:0]
	for _, raw := range col.Dict {
		if raw == nil {
			m.table = append(m.table, eval(nil))
			continue
		}
		v, ok := m.known[string(raw)]
		if !ok {
			v = eval(raw)
			if m.known == nil || len(m.known) >= maxMemo {
				m.known = map[string]T{}
			}
			m.known[string(raw)] = v
		}
		m.table = append(m.table, v)
	}
	return m.table
}

// filter is a condition on a field: one of the metric's, or that a dimension has one of the values that where allows.
type filter struct {
	x      *metric.FieldExpression
	values []string // nil: the metric's
	memo   memo[bool]
}

// dimension is a label by a field.
type dimension struct {
	x     *metric.FieldExpression
	memo  memo[uint32]
	ids   map[string]uint32
	names []string
}

// valueTable is what rows add.
type valueTable struct {
	x    *metric.FieldExpression
	memo memo[observed]
}

type observed struct {
	series.Observation
	ok bool
}

// cell is a group with the aggregate of the step that its last row was in.
type cell struct {
	labels series.Labels
	begin  int64 // of the step, Unix nanoseconds
	agg    series.Agg
}

// columnShare is how many rows of columns may be read for each event: they are that much cheaper.
const columnShare = 20

// newColumnScan is false when the program cannot be computed from columns.
func (r *run) newColumnScan(c *collector, plans *columnPlans) (*columnScan, bool) {
	plan, ok := plans.of(r.program)
	if !ok {
		return nil, false
	}
	s := &columnScan{run: r, c: c, plan: plan, scalars: Scalar(r.q.Agg), subject: -1, tail: raw{run: r, c: c}}
	for _, f := range plan.Fields {
		s.fields = append(s.fields, store.ColumnField{Field: f})
	}
	for i := range plan.Filter {
		s.filters = append(s.filters, filter{x: &plan.Filter[i]})
	}
	for i, allowed := range r.project.where {
		s.filters = append(s.filters, filter{x: &plan.Dimensions[i], values: allowed})
	}
	for _, i := range r.project.keep {
		s.keep = append(s.keep, dimension{x: &plan.Dimensions[i]})
	}
	switch {
	case plan.Value != nil:
		s.value.x = plan.Value
		if x := plan.Value; x.Linear && !s.reads(x) {
			s.fields[x.Field].Numbers = true
		}
	case r.q.Agg == series.Unique:
		subject := metric.Field{Attribute: "subject"}
		if s.subject = slices.IndexFunc(plan.Fields, subject.Equal); s.subject < 0 {
			s.subject = len(s.fields)
			s.fields = append(s.fields, store.ColumnField{Field: subject})
		}
	}
	s.forget()
	return s, true
}

// reads says whether anything but the value reads the value's field, and so wants to know what is there.
func (s *columnScan) reads(value *metric.FieldExpression) bool {
	other := func(x *metric.FieldExpression) bool { return x.Field == value.Field }
	return slices.ContainsFunc(s.filters, func(f filter) bool { return other(f.x) }) ||
		slices.ContainsFunc(s.keep, func(d dimension) bool { return other(d.x) })
}

// block adds a block.
func (s *columnScan) block(b *store.ColumnBlock) error {
	for i := range b.Events {
		if err := s.tail.event(&b.Events[i]); err != nil {
			return err
		}
	}
	if len(b.Times) == 0 {
		return nil
	}
	s.read += len(b.Times)
	if s.read > columnShare*s.run.limits.scanned {
		return s.run.tooMany()
	}
	s.rows = slices.Grow(s.rows[:0], len(b.Times))
	for i := range b.Times {
		s.rows = append(s.rows, uint32(i))
	}
	for i := range s.filters {
		s.filter(&s.filters[i], b)
	}
	if len(s.rows) == 0 {
		return nil
	}
	if len(s.cells) > 4*s.run.limits.rawGroups {
		if err := s.flush(); err != nil {
			return err
		}
		s.forget()
	}
	s.group(b)
	return s.add(b)
}

// none is the column of an expression that reads no field.
func none() store.Column { return store.Column{Dict: [][]byte{nil}} }

func (s *columnScan) column(b *store.ColumnBlock, x *metric.FieldExpression) store.Column {
	if x.Field < 0 {
		return none()
	}
	return b.Columns[x.Field]
}

// filter leaves the rows for which f holds.
func (s *columnScan) filter(f *filter, b *store.ColumnBlock) {
	col := s.column(b, f.x)
	holds := func(raw []byte) bool {
		if f.values != nil {
			return slices.Contains(f.values, s.eval.Label(s.plan, f.x, raw))
		}
		return s.eval.Holds(s.plan, f.x, raw)
	}
	kept := s.rows[:0]
	switch {
	case col.Numbers != nil:
		for _, i := range s.rows {
			if holds(numberJSON(col.Numbers[i])) {
				kept = append(kept, i)
			}
		}
	case col.Codes == nil:
		if f.memo.of(&col, holds)[0] {
			return
		}
	default:
		table := f.memo.of(&col, holds)
		for _, i := range s.rows {
			if table[col.Codes[i]] {
				kept = append(kept, i)
			}
		}
	}
	s.rows = kept
}

// numberJSON is a number as JSON, nil for NaN.
func numberJSON(f float64) []byte {
	if math.IsNaN(f) {
		return nil
	}
	return strconv.AppendFloat(nil, f, 'g', -1, 64)
}
