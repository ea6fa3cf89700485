package live

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/pulsestream/pulsestream/internal/metric"
	"github.com/pulsestream/pulsestream/internal/query"
	"github.com/pulsestream/pulsestream/internal/series"
	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

// topic is what a subscription is about.
type topic int

const (
	topicMetric topic = iota
	topicEvents
	topicIncidents
)

// Bounds of a subscription.
const (
	maxQueued     = 200 // events or incidents that wait for a connection
	topicInterval = 250 * time.Millisecond
)

// subscription is one client's interest. Its room's mutex guards it.
type subscription struct {
	id    string
	topic topic
	conn  *conn

	// Of a metric.
	program  *metric.Program
	query    query.Query
	project  func(series.Labels) (series.Labels, bool)
	boundary int64 // Unix seconds: what is older comes from the store
	groups   map[string]*group
	order    []*group
	ready    bool        // the snapshot was sent
	late     []lateDelta // what is older than boundary and came before ready
	stale    bool        // the partition's owner began anew: a new snapshot is due

	// Of a topic.
	events     []sampled
	incidents  map[string]any
	sampledOut int

	next    time.Time // not before this is anything sent
	dirty   bool
	dirtyAt time.Time // since when
	dropped int       // frames or events that this client was too slow for
}

type group struct {
	query.Group
	dirty map[int64]struct{}
}

// interval is how often frames go out at most.
func (s *subscription) interval() time.Duration {
	if s.topic == topicMetric {
		return s.query.Step
	}
	return topicInterval
}

func (s *subscription) touch() {
	if !s.dirty {
		s.dirty, s.dirtyAt = true, s.conn.hub.cfg.Now()
	}
	s.conn.signal()
}

func (s *subscription) restart() {
	if s.topic == topicMetric {
		s.stale = true
		s.conn.signal()
	}
}

// offer shows the subscription a delta.
func (s *subscription) offer(d *series.Delta, seq uint64) {
	if s.topic != topicMetric || s.stale || d.Metric != s.program.Definition().ID {
		return
	}
	if !s.ready && d.Second < s.boundary {
		if seq > 0 {
			s.late = append(s.late, lateDelta{seq, d})
		}
		return
	}
	if seq == 0 && d.Second < s.boundary {
		return // history that the store has told of already
	}
	// Only what it shows makes a frame due: one that is due and empty would still cost the next its turn.
	if s.merge(d.Labels, d.Second, &d.Agg) && s.ready {
		s.touch()
	}
}

// merge adds an aggregate of one second, if it is about what the subscription shows.
func (s *subscription) merge(labels series.Labels, second int64, agg *series.Agg) bool {
	ms := series.Align(time.Unix(second, 0), s.query.Step).UnixMilli()
	if ms < s.query.From.UnixMilli() {
		return false
	}
	kept, ok := s.project(labels)
	if !ok {
		return false
	}
	g := s.group(kept)
	g.At(ms).Merge(agg)
	if s.ready {
		g.dirty[ms] = struct{}{}
	}
	return true
}

// group finds the group of labels; past the limit, that of all others.
func (s *subscription) group(labels series.Labels) *group {
	other := query.IsOther(labels)
	key := labels.Key()
	if other {
		key = series.OtherValue
	}
	if g := s.groups[key]; g != nil {
		return g
	}
	if !other && len(s.order) >= s.query.Limit {
		other, key = true, series.OtherValue
		if g := s.groups[key]; g != nil {
			return g
		}
	}
	g := &group{Group: query.Group{Labels: labels, Other: other}, dirty: map[int64]struct{}{}}
	s.groups[key] = g
	s.order = append(s.order, g)
	return g
}

// forget drops steps that have left the subscription's span.
func (s *subscription) forget(now time.Time, span time.Duration) {
	s.query.From = series.Align(now.Add(-span), s.query.Step)
	first := s.query.From.UnixMilli()
	for _, g := range s.order {
		n := 0
		for n < len(g.Steps) && g.Steps[n].UnixMS < first {
			n++
		}
		if n > 64 {
			g.Steps = append(g.Steps[:0], g.Steps[n:]...)
		}
	}
}

func (s *subscription) event(one sampled) {
	if s.topic != topicEvents {
		return
	}
	if len(s.events) >= maxQueued {
		s.events = s.events[1:]
		s.dropped++
	}
	s.events = append(s.events, one)
	s.touch()
}

func (s *subscription) passedOver() {
	if s.topic == topicEvents {
		s.sampledOut++
		s.touch() // how many were left out is told even if none follows
	}
}

func (s *subscription) incident(id string, view any) {
	if s.topic != topicIncidents {
		return
	}
	if s.incidents == nil {
		s.incidents = map[string]any{}
	}
	s.incidents[id] = view
	s.touch()
}

// points is a series as frames show it.
type points struct {
	Labels map[string]string `json:"labels"`
	Points query.Points      `json:"points"`
}

func (s *subscription) labels(g *group) map[string]string {
	out := map[string]string{}
	if g.Other && len(s.query.GroupBy) > 0 {
		out[series.OtherValue] = "true"
		return out
	}
	for i, name := range s.query.GroupBy {
		out[name] = g.Labels[i]
	}
	return out
}

func (s *subscription) point(ms int64, a *series.Agg) query.Point {
	v, ok := a.Value(s.query.Agg, s.query.Step)
	return query.Point{UnixMS: ms, Value: v, Valid: ok}
}

// changes are the points that changed since the last frame.
func (s *subscription) changes() []points {
	var out []points
	for _, g := range s.order {
		if len(g.dirty) == 0 {
			continue
		}
		p := points{Labels: s.labels(g)}
		for i := range g.Steps {
			if _, ok := g.dirty[g.Steps[i].UnixMS]; ok {
				p.Points = append(p.Points, s.point(g.Steps[i].UnixMS, &g.Steps[i].Agg))
			}
		}
		clear(g.dirty)
		if len(p.Points) > 0 {
			out = append(out, p)
		}
	}
	return out
}

// all are the points of all steps up to now, for a snapshot.
func (s *subscription) all(now time.Time) []points {
	empty := series.Agg{}
	out := []points{}
	if len(s.order) == 0 && len(s.query.GroupBy) == 0 {
		s.group(series.Labels{})
	}
	for _, g := range s.order {
		p := points{Labels: s.labels(g)}
		i := 0
		for t := s.query.From; !t.After(now); t = t.Add(s.query.Step) {
			ms := t.UnixMilli()
			for i < len(g.Steps) && g.Steps[i].UnixMS < ms {
				i++
			}
			if i < len(g.Steps) && g.Steps[i].UnixMS == ms {
				p.Points = append(p.Points, s.point(ms, &g.Steps[i].Agg))
			} else {
				p.Points = append(p.Points, s.point(ms, &empty))
			}
		}
		for ; i < len(g.Steps); i++ { // events dated ahead
			if ms := g.Steps[i].UnixMS; ms > now.UnixMilli() {
				p.Points = append(p.Points, s.point(ms, &g.Steps[i].Agg))
			}
		}
		out = append(out, p)
	}
	return out
}

// load fills a metric's subscription from memory and, for what is older, from the store. After it every delta
// is offered exactly once.
func (h *Hub) load(ctx context.Context, t tenant.ID, r *room, s *subscription, since time.Duration) error {
	now := h.cfg.Now()
	from := series.Align(now.Add(-since), s.query.Step)
	// What memory has in full, from a whole minute on, comes from there.
	boundary := series.Align(now.Add(-h.cfg.Span), time.Minute).Add(time.Minute)
	r.mu.Lock()
	s.query.From, s.boundary = from, boundary.Unix()
	s.groups, s.order, s.ready, s.stale, s.late = map[string]*group{}, nil, false, false, nil
	if m := r.mem[s.program.Definition().ID]; m != nil {
		for second, cells := range m.seconds {
			if second < s.boundary {
				continue
			}
			for _, c := range cells {
				s.merge(c.labels, second, &c.agg)
			}
		}
	}
	for _, l := range r.late {
		if l.delta.Metric == s.program.Definition().ID {
			s.late = append(s.late, l)
		}
	}
	r.subs[s] = struct{}{}
	r.mu.Unlock()

	var older []query.Group
	var offset uint64
	if from.Before(boundary) {
		var err error
		if older, offset, err = h.older(ctx, t, s, from, boundary); err != nil {
			return err
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range older {
		g := s.group(older[i].Labels)
		g.Merge(&older[i])
	}
	for _, l := range s.late {
		if l.seq > offset {
			s.merge(l.delta.Labels, l.delta.Second, &l.delta.Agg)
		}
	}
	s.late, s.ready = nil, true
	return nil
}

// older asks the store for what lies before the boundary, and says up to which log message the answer goes.
func (h *Hub) older(ctx context.Context, t tenant.ID, s *subscription, from, boundary time.Time) (groups []query.Group, offset uint64, err error) {
	q := s.query
	q.From, q.To = from, boundary
	p := tenant.Partition(t, h.cfg.Partitions)
	for range 3 {
		before, err := h.cfg.Store.Partition(ctx, p)
		if err != nil {
			return nil, 0, err
		}
		if groups, err = h.cfg.Query.Aggregates(ctx, t, s.program, q); err != nil {
			return nil, 0, err
		}
		after, err := h.cfg.Store.Partition(ctx, p)
		if err != nil {
			return nil, 0, err
		}
		offset = before.Offset.Seq
		if after.Offset == before.Offset {
			break
		}
	}
	return groups, offset, nil
}

// tailSnapshot is the newest events: what the store has, and what is on its way there.
func (h *Hub) tailSnapshot(ctx context.Context, t tenant.ID, r *room) ([]json.RawMessage, error) {
	stored, err := h.cfg.Store.Page(ctx, t, store.Page{Limit: tailLength})
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	recent := append([]sampled(nil), r.tail...)
	r.mu.Unlock()
	type key struct{ source, id string }
	seen := map[key]bool{}
	slices.Reverse(recent) // newest first, as those of the store are
	for i := range recent {
		seen[key{recent[i].source, recent[i].id}] = true
	}
	// The tail leaves events out when there are many, so of those in the store some may be newer than what it has.
	for i := range stored {
		ev := &stored[i].Event
		if !seen[key{ev.Source, ev.ID}] {
			recent = append(recent, newSampled(ev))
		}
	}
	slices.SortStableFunc(recent, func(a, b sampled) int { return b.received.Compare(a.received) })
	out := []json.RawMessage{}
	for i := range recent[:min(len(recent), tailLength)] {
		out = append(out, recent[i].json)
	}
	return out, nil
}

var errTooMany = fmt.Errorf("a connection has at most %d subscriptions", maxSubscriptions)
