package process

import (
	"fmt"
	"slices"

	"github.com/pulsestream/pulsestream/internal/event"
	"github.com/pulsestream/pulsestream/internal/metric"
	"github.com/pulsestream/pulsestream/internal/series"
)

// aggregator turns events into one-second deltas of the series they belong to.
type aggregator struct {
	bound *bound
	doc   metric.Doc
	round uint32
	cells []cell // those of this round; the memory of former ones is behind them
	// observed is scratch: what the programs make of the event in hand.
	observed []metric.Observed
	out      []series.Delta
}

// cell is one second of one series.
type cell struct {
	of     *known
	second int64
	older  int32 // the series' cell before this one, or -1
	agg    series.Agg
}

func newAggregator(b *bound) *aggregator { return &aggregator{bound: b, round: b.next()} }

// add runs the programs that are about the event. A program that panics fails the event as a whole: nothing of it is counted.
func (a *aggregator) add(ev *event.Stored, p *plan) error {
	if len(p.tables) == 0 {
		return nil
	}
	if err := a.observe(ev, p); err != nil {
		return err
	}
	at := ev.Time.UnixNano()
	second := ev.Time.Unix()
	for i := range a.observed {
		o := &a.observed[i]
		k := a.bound.admit(p.tables[o.Program], a.doc.Key(o))
		a.cell(k, second).agg.AddAt(&o.Observation, at)
	}
	return nil
}

func (a *aggregator) observe(ev *event.Stored, p *plan) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("a metric panicked: %v", p)
		}
	}()
	provoke(ev)
	a.observed = p.programs.Observe(&a.doc, &ev.Event, a.observed[:0])
	return nil
}

// maxOlder is how many cells of a series are looked through. When there are more, as with events of many different seconds, some
// second gets a cell twice, which is merged later: everything that reads cells merges.
const maxOlder = 8

// cell finds or makes the cell of one second of a series.
func (a *aggregator) cell(k *known, second int64) *cell {
	older := int32(-1)
	if k.round == a.round {
		older = k.cell
		for i, tries := older, 0; i >= 0 && tries < maxOlder; tries++ {
			c := &a.cells[i]
			if c.second == second {
				return c
			}
			i = c.older
		}
	}
	k.round, k.cell = a.round, int32(len(a.cells)) //nolint:gosec // far fewer
	c := grow(&a.cells)
	c.of, c.second, c.older = k, second, older
	return c
}

// grow makes s longer by one element, which has whatever it had when s was as long before.
func grow[T any](s *[]T) *T {
	if n := len(*s); n < cap(*s) {
		*s = (*s)[:n+1]
	} else {
		var zero T
		*s = append(*s, zero)
	}
	return &(*s)[len(*s)-1]
}

// deltas are the cells so far. They must only be read, and only until begin, but for their labels.
func (a *aggregator) deltas() []series.Delta {
	a.out = slices.Grow(a.out[:0], len(a.cells))[:len(a.cells)]
	for i := range a.cells {
		c, d := &a.cells[i], &a.out[i]
		d.Tenant, d.Metric, d.Labels, d.Second, d.Agg, d.Place = c.of.table.tenant, c.of.table.metric, c.of.labels, c.second, c.agg, &c.of.place
	}
	return a.out
}

// begin begins anew.
func (a *aggregator) begin() {
	for i := range a.cells {
		a.cells[i].agg.Reset()
		a.cells[i].of = nil
	}
	a.cells = a.cells[:0]
	clear(a.out)
	a.out = a.out[:0]
	a.round = a.bound.next()
}
