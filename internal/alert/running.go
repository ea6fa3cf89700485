package alert

import (
	"encoding/binary"
	"reflect"
	"slices"
	"time"

	"github.com/pulsestream/pulsestream/internal/series"
)

// worstEvery is how often at most a firing group's state is written anew only because its value got worse.
const worstEvery = time.Minute

// running is a rule that is evaluated, with its groups.
type running struct {
	rule   Rule
	metric int64
	dims   []string
	unit   string
	where  []match
	by     []int // indexes of labels, in the order of rule.GroupBy
	shape  shape
	loaded bool
	cur    int64 // the bucket of the last evaluation

	groups  map[string]*group
	list    []*group // the same, for walking through
	touched []*group
	stirred bool   // it is among the evaluator's stirred
	key     []byte // scratch
	folded  uint64
}

// match restricts a rule to series with a label.
type match struct {
	index int
	value string
}

// group is one group of labels of a rule.
type group struct {
	key     string // of running.groups
	place   int    // in running.list
	state   State
	saved   time.Time // when a firing state was last handed out
	window  window
	due     int64 // the bucket in which the value may change by itself
	touched bool
}

// newRunning needs a Bound that is not inactive.
func newRunning(b *Bound) *running {
	r := &running{cur: never, shape: shapeOf(b.Rule.Agg, time.Duration(b.Rule.Window)), groups: make(map[string]*group)}
	r.update(b)
	if len(r.by) == 0 {
		r.make(nil, "") // there always is its one group, even when there are no data
	}
	return r
}

// sameWindows says whether what was counted so far is what b would have counted.
func (r *running) sameWindows(b *Bound) bool {
	return r.metric == b.MetricID && r.rule.Tenant == b.Rule.Tenant && r.rule.SameComputation(&b.Rule) && slices.Equal(r.dims, b.Dimensions)
}

// update takes a rule over. When anything about it is new, such as its condition, every group is looked at again.
func (r *running) update(b *Bound) {
	if r.unit == b.Unit && reflect.DeepEqual(r.rule, b.Rule) {
		return
	}
	r.rule, r.metric, r.dims, r.unit = b.Rule, b.MetricID, b.Dimensions, b.Unit
	r.where, r.by = nil, nil
	for d, v := range r.rule.Where {
		r.where = append(r.where, match{slices.Index(r.dims, d), v})
	}
	for _, d := range r.rule.GroupBy {
		r.by = append(r.by, slices.Index(r.dims, d))
	}
	for _, g := range r.list {
		r.touch(g)
	}
}

// need asks for the window and one bucket more, since the oldest bucket counts as a whole.
func (r *running) need() Need {
	return Need{Tenant: r.rule.Tenant, RuleID: r.rule.ID, MetricID: r.metric, Back: time.Duration((r.shape.n+1)*r.shape.width) * time.Second}
}

func (r *running) unload() {
	r.loaded = false
	for i := len(r.list) - 1; i >= 0; i-- {
		g := r.list[i]
		g.window, g.touched = newWindow(), false
		if len(r.by) > 0 && g.state.Phase == PhaseOK {
			r.remove(g)
		}
	}
	r.cur, r.touched = never, nil
	for _, g := range r.list {
		r.touch(g)
	}
}

// states are those that are not ok.
func (r *running) states() []State {
	var states []State
	for _, g := range r.list {
		if g.state.Phase != PhaseOK {
			states = append(states, g.state)
		}
	}
	return states
}

// adopt takes a committed state over; false when it is not about a group of this rule.
func (r *running) adopt(s State) bool {
	if len(s.Labels) != len(r.by) {
		return false
	}
	values := make([]string, len(r.by))
	for i, d := range r.rule.GroupBy {
		v, ok := s.Labels[d]
		if !ok {
			return false
		}
		values[i] = v
	}
	key := string(appendKey(nil, values))
	g := r.groups[key]
	if g == nil {
		g = r.make(values, key)
	}
	s.Group = g.state.Group
	g.state = s
	g.saved = s.Since
	r.touch(g)
	return true
}

func (r *running) matches(l series.Labels) bool {
	for _, m := range r.where {
		if m.index >= len(l) || l[m.index] != m.value {
			return false
		}
	}
	return true
}

// group finds or makes the group of a series; folded says that it is the group of the rest.
func (r *running) group(l series.Labels, limit int) (g *group, folded bool) {
	r.key = r.key[:0]
	for _, i := range r.by {
		v := ""
		if i < len(l) {
			v = l[i]
		}
		r.key = append(binary.AppendUvarint(r.key, uint64(len(v))), v...)
	}
	if g := r.groups[string(r.key)]; g != nil {
		return g, false
	}
	values := make([]string, len(r.by))
	folded = len(r.list) >= limit
	for n, i := range r.by {
		switch {
		case folded:
			values[n] = series.OtherValue
		case i < len(l):
			values[n] = l[i]
		}
	}
	key := string(appendKey(nil, values))
	if g := r.groups[key]; g != nil {
		return g, folded
	}
	return r.make(values, key), folded
}

// appendKey is a map key that no two different groups share.
func appendKey(b []byte, values []string) []byte {
	for _, v := range values {
		b = append(binary.AppendUvarint(b, uint64(len(v))), v...)
	}
	return b
}

func (r *running) make(values []string, key string) *group {
	labels := make(map[string]string, len(values))
	for i, d := range r.rule.GroupBy {
		labels[d] = values[i]
	}
	g := &group{key: key, place: len(r.list), window: newWindow()}
	g.state = State{Tenant: r.rule.Tenant, RuleID: r.rule.ID, Group: GroupKey(values), Labels: labels, Phase: PhaseOK}
	r.groups[key] = g
	r.list = append(r.list, g)
	r.touch(g)
	return g
}

func (r *running) remove(g *group) {
	delete(r.groups, g.key)
	last := r.list[len(r.list)-1]
	r.list[g.place], last.place = last, g.place
	r.list[len(r.list)-1] = nil
	r.list = r.list[:len(r.list)-1]
}

func (r *running) touch(g *group) {
	if !g.touched {
		g.touched = true
		r.touched = append(r.touched, g)
	}
}

// evaluate looks at the groups; all says that the clock was set back, so none can be skipped.
func (r *running) evaluate(now time.Time, onlyTouched, all bool, out *results) {
	cur := r.shape.bucketOf(now.Unix())
	if onlyTouched {
		if r.shape.class == sketches {
			return
		}
		for _, g := range r.touched {
			r.look(g, cur, now, out)
		}
	} else {
		for i := len(r.list) - 1; i >= 0; i-- { // backwards: a group that is removed is replaced by one that was looked at
			g := r.list[i]
			if all || g.touched || cur >= g.due || g.state.Phase == PhasePending {
				r.look(g, cur, now, out)
			}
		}
	}
	r.cur = cur
	clear(r.touched)
	r.touched = r.touched[:0]
}

// look evaluates one group.
func (r *running) look(g *group, cur int64, now time.Time, out *results) {
	g.touched = false
	w := &g.window
	w.advance(&r.shape, cur)
	g.due = w.next(&r.shape)
	v, has, count := w.value(&r.shape)
	if count == 0 && r.rule.NoData != NoDataOK {
		has = false // with keep and alert, emptiness is meant, even where it counts as 0
	}
	before := g.state
	next, t := step(&r.rule, r.unit, before, v, has, now)
	g.state = next
	worse := next.Opened != before.Opened && now.Sub(g.saved) >= worstEvery
	if t != nil || next.Phase != before.Phase || !next.Since.Equal(before.Since) || worse {
		out.take(next, t)
		g.saved = now
	}
	if next.Phase == PhaseOK && w.empty() && len(r.by) > 0 {
		r.remove(g)
	}
}
