package verify

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/pulsestream/pulsestream/internal/event"
	"github.com/pulsestream/pulsestream/internal/metric"
	"github.com/pulsestream/pulsestream/internal/series"
)

// step is one step of one series of a metric.
type step struct {
	width time.Duration
	start int64 // Unix seconds
	key   string
}

// numbers are what is compared of a step.
type numbers struct {
	labels        series.Labels
	count, values uint64
	sum, size     float64 // size is the sum of the values' magnitudes
	min, max      float64
	partial       bool // only count is known
}

func (n *numbers) add(o *series.Observation) {
	n.count++
	if !o.Numeric {
		return
	}
	if n.values == 0 {
		n.min, n.max = o.Value, o.Value
	}
	n.values++
	n.sum += o.Value
	n.size += math.Abs(o.Value)
	n.min, n.max = math.Min(n.min, o.Value), math.Max(n.max, o.Value)
}

func (n *numbers) merge(m *numbers) {
	n.count += m.count
	if m.values == 0 {
		return
	}
	if n.values == 0 {
		n.min, n.max = m.min, m.max
	}
	n.values += m.values
	n.sum += m.sum
	n.size += m.size
	n.min, n.max = math.Min(n.min, m.min), math.Max(n.max, m.max)
}

// differs says in words how the rollup got differs from n, "" when it does not. Sums may differ by rounding: they are added up in
// another order.
func (n *numbers) differs(got *numbers) string {
	var out []string
	if n.count != got.count {
		out = append(out, fmt.Sprintf("count is %d, raw events say %d", got.count, n.count))
	}
	if n.values > 0 && !got.partial {
		tolerance := 1e-9 * n.size
		for _, c := range []struct {
			name        string
			got, want   float64
			exact, skip bool
		}{{"sum", got.sum, n.sum, false, math.IsInf(n.size, 0)}, {"min", got.min, n.min, true, false}, {"max", got.max, n.max, true, false}} {
			if !c.skip && c.got != c.want && (c.exact || !(math.Abs(c.got-c.want) <= tolerance)) {
				out = append(out, fmt.Sprintf("%s is %v, raw events say %v", c.name, c.got, c.want))
			}
		}
	}
	return strings.Join(out, "; ")
}

// tally computes the rollups of one metric from raw events.
type tally struct {
	program *metric.Program
	steps   map[step]*numbers
}

func newTally(p *metric.Program) *tally { return &tally{program: p, steps: map[step]*numbers{}} }

// add takes the event of doc, if the metric is about it.
func (t *tally) add(doc *metric.Doc, ev *event.Event) {
	if !t.program.MatchesType(ev.Type) {
		return
	}
	labels, o, ok := t.program.Observe(doc)
	if !ok {
		return
	}
	key := labels.Key()
	for _, width := range series.Resolutions() {
		s := step{width, series.Align(o.At, width).Unix(), key}
		n := t.steps[s]
		if n == nil {
			n = &numbers{labels: slices.Clone(labels)}
			t.steps[s] = n
		}
		n.add(&o)
	}
}

// rollups are what the installation says.
type rollups map[step]*numbers

func (r rollups) add(s step, n *numbers) {
	if old := r[s]; old != nil {
		old.merge(n)
		return
	}
	r[s] = n
}

// compare reports each step in which rollups and raw events differ.
func (t *tally) compare(c *Check, got rollups) {
	want := t.steps
	if folded(got) {
		c.note("%s has more series than are kept apart: compared are the sums of all of them", t.program.Definition().Slug)
		want, got = total(want), total(got)
	}
	c.Looked += uint64(len(want))
	for _, s := range ordered(want) {
		g := got[s]
		if g == nil {
			g = &numbers{}
		}
		if d := want[s].differs(g); d != "" {
			c.violation("%s, %s of %s%v: %s", t.program.Definition().Slug, series.Duration(s.width), time.Unix(s.start, 0).UTC().Format(time.RFC3339), want[s].labels, d)
		}
	}
	for _, s := range ordered(got) {
		if want[s] == nil && got[s].count > 0 {
			c.violation("%s, %s of %s%v: count is %d, there are no such raw events", t.program.Definition().Slug, series.Duration(s.width),
				time.Unix(s.start, 0).UTC().Format(time.RFC3339), got[s].labels, got[s].count)
		}
	}
}

func folded(got rollups) bool {
	for _, n := range got {
		if len(n.labels) > 0 && n.labels[0] == series.OtherValue {
			return true
		}
	}
	return false
}

// total merges the series.
func total(in map[step]*numbers) map[step]*numbers {
	out := rollups{}
	for s, n := range in {
		c := *n
		c.labels = nil
		out.add(step{width: s.width, start: s.start}, &c)
	}
	return out
}

func ordered(steps map[step]*numbers) []step {
	all := make([]step, 0, len(steps))
	for s := range steps {
		all = append(all, s)
	}
	slices.SortFunc(all, func(a, b step) int {
		return cmp.Or(cmp.Compare(a.width, b.width), cmp.Compare(a.start, b.start), cmp.Compare(a.key, b.key))
	})
	return all
}
