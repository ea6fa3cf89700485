package query

import (
	"cmp"
	"errors"
	"slices"
	"time"

	"github.com/pulsestream/pulsestream/internal/series"
)

// Group is what the points of one series are made of.
type Group struct {
	// Labels are the values of the query's GroupBy, in its order.
	Labels series.Labels
	// Other marks the group of everything that is not told apart; all its labels are series.OtherValue.
	Other bool
	// Steps are those with observations, by time.
	Steps []Step
}

// Step is the aggregate of one step.
type Step struct {
	UnixMS int64 // of its start
	Agg    series.Agg
}

// At is the aggregate of the step that starts at unixMS, which is made if there is none yet. The pointer is good until the next
// call. It is fastest for steps in order.
func (g *Group) At(unixMS int64) *series.Agg {
	n := len(g.Steps)
	if n > 0 && g.Steps[n-1].UnixMS == unixMS {
		return &g.Steps[n-1].Agg
	}
	if n == 0 || g.Steps[n-1].UnixMS < unixMS {
		g.Steps = append(g.Steps, Step{UnixMS: unixMS})
		return &g.Steps[n].Agg
	}
	i, ok := slices.BinarySearchFunc(g.Steps, unixMS, func(s Step, t int64) int { return cmp.Compare(s.UnixMS, t) })
	if !ok {
		g.Steps = slices.Insert(g.Steps, i, Step{UnixMS: unixMS})
	}
	return &g.Steps[i].Agg
}

// Merge adds all that o has.
func (g *Group) Merge(o *Group) {
	missing, i := 0, 0
	for j := range o.Steps {
		for i < len(g.Steps) && g.Steps[i].UnixMS < o.Steps[j].UnixMS {
			i++
		}
		if i == len(g.Steps) || g.Steps[i].UnixMS > o.Steps[j].UnixMS {
			missing++
		}
	}
	// From the back, so that each step moves once.
	i = len(g.Steps) - 1
	g.Steps = slices.Grow(g.Steps, missing)[:len(g.Steps)+missing]
	at := len(g.Steps) - 1
	for j := len(o.Steps) - 1; j >= 0; j-- {
		for i >= 0 && g.Steps[i].UnixMS > o.Steps[j].UnixMS {
			g.Steps[at] = g.Steps[i]
			i, at = i-1, at-1
		}
		if i >= 0 && g.Steps[i].UnixMS == o.Steps[j].UnixMS {
			g.Steps[at] = g.Steps[i]
			i--
		} else {
			g.Steps[at] = Step{UnixMS: o.Steps[j].UnixMS}
		}
		g.Steps[at].Agg.Merge(&o.Steps[j].Agg)
		at--
	}
}

// Total is the aggregate of all steps.
func (g *Group) Total() *series.Agg {
	t := &series.Agg{}
	for i := range g.Steps {
		t.Merge(&g.Steps[i].Agg)
	}
	return t
}

func otherLabels(n int) series.Labels {
	l := make(series.Labels, n)
	for i := range l {
		l[i] = series.OtherValue
	}
	return l
}

// errWide says that a read has more groups and steps than may be held at a time.
var errWide = errors.New("too many groups and steps to hold at once")

// collector merges what is read into groups and steps.
type collector struct {
	q      *Query
	groups map[string]*Group
	other  *Group
	// top, when set, are the groups to tell apart: others are folded, but for those that appear while there are fewer
	// than q.Limit. It is shared by all collectors of a query, so that a group is treated alike in all its steps.
	top       map[string]struct{}
	cells     int
	budget    int // of cells
	rawGroups int
	step      time.Duration
	key       []byte // scratch
}

// at is the aggregate for labels in the step that t falls into; nil for what the answer leaves out. labels may be re-used.
func (c *collector) at(labels series.Labels, t time.Time) (*series.Agg, error) {
	ns := t.UnixNano()
	return c.atStep(labels, ns-mod(ns, int64(c.step)))
}

// atStep is at for a step that begins at begin, in Unix nanoseconds.
func (c *collector) atStep(labels series.Labels, begin int64) (*series.Agg, error) {
	g := c.group(labels)
	if g == nil {
		return nil, nil
	}
	n := len(g.Steps)
	agg := g.At(begin / int64(time.Millisecond))
	if c.cells += len(g.Steps) - n; c.cells > c.budget {
		return nil, errWide
	}
	return agg, nil
}

func (c *collector) group(labels series.Labels) *Group {
	c.key = labels.AppendKey(c.key[:0])
	if g, ok := c.groups[string(c.key)]; ok {
		return g
	}
	key := string(c.key)
	if IsOther(labels) || !c.admit(key) {
		if c.other == nil && c.q.Other {
			c.other = &Group{Labels: otherLabels(len(labels)), Other: true}
		}
		return c.other
	}
	g := &Group{Labels: labels.Clone()}
	c.groups[key] = g
	return g
}

func (c *collector) admit(key string) bool {
	if c.top == nil {
		return true
	}
	if _, ok := c.top[key]; ok {
		return true
	}
	if len(c.top) >= c.q.Limit {
		return false
	}
	c.top[key] = struct{}{}
	return true
}

// bounded is labels, or those of the overflow if they would make one group too many. The stream bounds a metric's
// series in the same way before they are stored, but raw events are as they were sent.
func (c *collector) bounded(labels series.Labels) series.Labels {
	if len(c.groups) < c.rawGroups {
		return labels
	}
	c.key = labels.AppendKey(c.key[:0])
	if _, ok := c.groups[string(c.key)]; ok {
		return labels
	}
	return otherLabels(len(labels))
}

// list is all groups, the one of all others last.
func (c *collector) list() []Group {
	out := make([]Group, 0, len(c.groups)+1)
	for _, key := range sortedKeys(c.groups) {
		out = append(out, *c.groups[key])
	}
	if c.other != nil {
		out = append(out, *c.other)
	}
	return out
}

// ranked is a group with its total.
type ranked struct {
	Group
	sum   *series.Agg
	total *float64
}

// byTotal orders groups as an answer does: by total, largest first, those without one behind them, ties by labels, all others last.
func byTotal(groups []Group, q *Query) []ranked {
	all := make([]ranked, 0, len(groups))
	for _, g := range groups {
		sum := g.Total()
		all = append(all, ranked{g, sum, number(sum, q.Agg, q.To.Sub(q.From))})
	}
	slices.SortFunc(all, func(a, b ranked) int { return compareRank(a.Other, b.Other, a.total, b.total, a.Labels, b.Labels) })
	return all
}

func compareRank(aOther, bOther bool, a, b *float64, aLabels, bLabels series.Labels) int {
	switch {
	case aOther != bOther:
		if aOther {
			return 1
		}
		return -1
	case a == nil && b != nil:
		return 1
	case a != nil && b == nil:
		return -1
	case a != nil && *a != *b:
		return -cmp.Compare(*a, *b)
	}
	return slices.Compare(aLabels, bLabels)
}

// fold keeps the q.Limit groups with the largest totals and merges the rest into the one of all others.
func fold(groups []Group, q *Query) []ranked {
	all := byTotal(groups, q)
	n := len(all)
	var other *ranked
	if n > 0 && all[n-1].Other {
		n, other = n-1, &all[n-1]
	}
	kept := min(n, q.Limit)
	if kept == n {
		return all
	}
	if !q.Other {
		return all[:kept]
	}
	if other == nil {
		other = &ranked{Group: Group{Labels: otherLabels(len(q.GroupBy)), Other: true}, sum: &series.Agg{}}
	}
	for i := kept; i < n; i++ {
		other.Merge(&all[i].Group)
		other.sum.Merge(all[i].sum)
	}
	return append(all[:kept:kept], *other)
}

// plain are the groups without their totals.
func plain(all []ranked) []Group {
	groups := make([]Group, 0, len(all))
	for i := range all {
		groups = append(groups, all[i].Group)
	}
	return groups
}
