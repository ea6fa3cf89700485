package live

import (
	"cmp"
	"encoding/json"
	"slices"
	"strconv"
	"time"

	"github.com/pulsestream/pulsestream/internal/metric"
	"github.com/pulsestream/pulsestream/internal/query"
	"github.com/pulsestream/pulsestream/internal/series"
)

// view is what a question about a metric shows: absolute values of each step. Its room's mutex guards it.
type view struct {
	program  *metric.Program
	query    query.Query
	span     time.Duration // how far back it goes
	project  func(series.Labels) (series.Labels, bool)
	scalar   bool  // sketches are not needed
	boundary int64 // Unix seconds: what is older comes from the store
	groups   map[string]*group
	order    []*group
	known    map[string]*group // by the key of all labels; nil for what the question is not about
	late     []lateDelta       // what is older than boundary and came before the load was done
	stale    bool              // the partition's owner began anew: the view must be loaded again
	folded   bool              // there were more groups than the limit
	loadedAt time.Time

	snap   []byte // the newest snapshot's tail
	snapAt position
	snapTo int64 // the step that it goes to
}

// maxKnown is how many labels a view remembers.
const maxKnown = 4096

type group struct {
	labels []byte // JSON
	other  bool
	steps  []step // by time
	newest uint64 // of the steps' frames
}

type step struct {
	unixMS int64
	frame  uint64 // the number of the frame that tells it as it is
	agg    series.Agg
}

// at is the step that starts at unixMS, which is made if there is none yet.
func (g *group) at(unixMS int64) *step {
	n := len(g.steps)
	if n > 0 && g.steps[n-1].unixMS == unixMS {
		return &g.steps[n-1]
	}
	if n == 0 || g.steps[n-1].unixMS < unixMS {
		g.steps = append(g.steps, step{unixMS: unixMS})
		return &g.steps[n]
	}
	i, ok := slices.BinarySearchFunc(g.steps, unixMS, func(s step, t int64) int { return cmp.Compare(s.unixMS, t) })
	if !ok {
		g.steps = slices.Insert(g.steps, i, step{unixMS: unixMS})
	}
	return &g.steps[i]
}

// offer shows the view a delta; key is that of its labels, frame the number of the next frame. True: it shows there.
func (v *view) offer(d *series.Delta, key []byte, seq uint64, ready bool, frame uint64) bool {
	switch {
	case v.stale:
		return false
	case d.Second >= v.boundary:
	case !ready:
		if seq > 0 {
			v.late = append(v.late, lateOf(seq, d))
		}
		return false
	case seq == 0:
		return false // history that the store has told of already
	}
	// Only what it shows makes a frame due: one that is due and empty would still cost the next its turn.
	return v.merge(d.Labels, key, d.Second, &d.Agg, frame)
}

// merge adds an aggregate of one second, if it is about what the view shows.
func (v *view) merge(labels series.Labels, key []byte, second int64, agg *series.Agg, frame uint64) bool {
	width := int64(v.query.Step / time.Second)
	ms := (second - second%width) * 1000
	if second < 0 || ms < v.query.From.UnixMilli() {
		return false
	}
	g, ok := v.known[string(key)]
	if !ok {
		if kept, about := v.project(labels); about {
			g = v.group(kept)
		}
		if len(v.known) >= maxKnown {
			clear(v.known)
		}
		v.known[string(key)] = g
	}
	if g == nil {
		return false
	}
	s := g.at(ms)
	v.add(&s.agg, agg)
	s.frame, g.newest = frame, frame
	return true
}

// add merges, without the sketches if they are not needed: these are most of the work.
func (v *view) add(into, agg *series.Agg) {
	if v.scalar {
		into.Merge(&series.Agg{Count: agg.Count, Values: agg.Values, Sum: agg.Sum, Min: agg.Min, Max: agg.Max, Last: agg.Last, LastAt: agg.LastAt})
		return
	}
	into.Merge(agg)
}

// group finds the group of labels; past the limit, that of all others.
func (v *view) group(labels series.Labels) *group {
	other := query.IsOther(labels)
	key := labels.Key()
	if other {
		key = series.OtherValue
	}
	if g := v.groups[key]; g != nil {
		return g
	}
	if !other && len(v.order) >= v.query.Limit {
		v.folded = true
		other, key = true, series.OtherValue
		if g := v.groups[key]; g != nil {
			return g
		}
	}
	named := make(map[string]string, len(labels))
	if other && len(v.query.GroupBy) > 0 {
		named[series.OtherValue] = "true"
	} else {
		for i, label := range labels {
			named[v.query.GroupBy[i]] = label
		}
	}
	g := &group{other: other}
	g.labels, _ = json.Marshal(named) //nolint:errchkjson // a map of texts can be written
	v.groups[key] = g
	v.order = append(v.order, g)
	return g
}

// forget drops steps that have left the view's span, and groups that have none left, so that others find room.
func (v *view) forget(now time.Time) {
	v.query.From = series.Align(now.Add(-v.span), v.query.Step)
	first := v.query.From.UnixMilli()
	empty := false
	for _, g := range v.order {
		n := 0
		for n < len(g.steps) && g.steps[n].unixMS < first {
			n++
		}
		switch {
		case n == len(g.steps):
			g.steps, empty = nil, true
		case n > 64:
			kept := copy(g.steps, g.steps[n:])
			clear(g.steps[kept:])
			g.steps = g.steps[:kept]
		}
	}
	if !empty || len(v.query.GroupBy) == 0 {
		return
	}
	for key, g := range v.groups {
		if len(g.steps) == 0 {
			delete(v.groups, key)
		}
	}
	v.order = slices.DeleteFunc(v.order, func(g *group) bool { return len(g.steps) == 0 })
	clear(v.known)
}

func (v *view) advance(at position, now time.Time) position {
	v.forget(now)
	at.n++
	return at
}

// since is part of content: the steps that changed.
func (v *view) since(from, to position) (tail []byte, dropped uint64) {
	if to.n > from.n+1 {
		dropped = to.n - from.n - 1
	}
	b := []byte(`,"op":"points","series":[`)
	begin := len(b)
	for _, g := range v.order {
		if g.newest <= from.n {
			continue
		}
		b = append(append(append(b, `{"labels":`...), g.labels...), `,"points":[`...)
		for i := range g.steps {
			if s := &g.steps[i]; s.frame > from.n {
				b = append(v.append(b, s.unixMS, &s.agg), ',')
			}
		}
		b = append(closeList(b), '}', ',')
	}
	if len(b) == begin {
		return nil, dropped
	}
	return append(closeList(b), '}'), dropped
}

func (v *view) append(b []byte, ms int64, a *series.Agg) []byte {
	p := query.Point{UnixMS: ms}
	p.Value, p.Valid = a.Value(v.query.Agg, v.query.Step)
	return p.AppendJSON(b)
}

// snapshot is the tail of a frame with all steps up to now. It is the same bytes for all who ask before anything changes.
func (v *view) snapshot(at position, now time.Time) []byte {
	v.forget(now)
	to := series.Align(now, v.query.Step).UnixMilli()
	if v.snap != nil && v.snapAt == at && v.snapTo == to {
		return v.snap
	}
	if len(v.order) == 0 && len(v.query.GroupBy) == 0 {
		v.group(series.Labels{})
	}
	def := v.program.Definition()
	b := append([]byte(`,"op":"snapshot","metric":`), quote(def.Slug)...)
	b = append(append(append(b, `,"agg":"`...), v.query.Agg...), `","step":"`...)
	b = append(append(b, series.Duration(v.query.Step).String()...), '"')
	if unit := query.Unit(def, v.query.Agg); unit != "" {
		b = append(append(b, `,"unit":`...), quote(unit)...)
	}
	b = append(b, `,"series":[`...)
	var empty series.Agg
	first, width := v.query.From.UnixMilli(), v.query.Step.Milliseconds()
	for _, g := range v.order {
		b = append(append(append(b, `{"labels":`...), g.labels...), `,"points":[`...)
		i := 0
		for ms := first; ms <= to; ms += width {
			for i < len(g.steps) && g.steps[i].unixMS < ms {
				i++
			}
			a := &empty
			if i < len(g.steps) && g.steps[i].unixMS == ms {
				a = &g.steps[i].agg
			}
			b = append(v.append(b, ms, a), ',')
		}
		for ; i < len(g.steps); i++ { // events dated ahead
			if ms := g.steps[i].unixMS; ms > to {
				b = append(v.append(b, ms, &g.steps[i].agg), ',')
			}
		}
		b = append(closeList(b), '}', ',')
	}
	v.snap, v.snapAt, v.snapTo = append(closeList(b), '}'), at, to
	return v.snap
}

func quote(s string) []byte {
	b, _ := json.Marshal(s) //nolint:errchkjson // a text can be written
	return b
}

// questionKey is the same for questions that have the same answer.
func questionKey(id int64, q *query.Query, span time.Duration) string {
	where := make(map[string][]string, len(q.Where))
	for d, values := range q.Where {
		values = slices.Clone(values)
		slices.Sort(values)
		where[d] = slices.Compact(values)
	}
	named, _ := json.Marshal([]any{q.GroupBy, where}) //nolint:errchkjson // texts can be written
	return strconv.FormatInt(id, 10) + " " + string(q.Agg) + " " + q.Step.String() + " " + span.String() + " " + strconv.Itoa(q.Limit) + string(named)
}
