package live

import (
	"context"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pulsestream/pulsestream/internal/event"
	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

// Bounds of the topics.
const (
	tailLength    = 50
	tailRate      = 50  // events a second that are rendered at most
	maxQueued     = 200 // events or incidents that are kept for clients who have not got them yet
	topicInterval = 250 * time.Millisecond
)

// sampled is an event as its JSON.
type sampled struct {
	source, id string
	received   time.Time
	json       []byte
}

func newSampled(ev *event.Event) sampled {
	return sampled{source: ev.Source, id: strings.Clone(ev.ID), received: ev.Received, json: event.AppendJSON(nil, ev)}
}

// sampler lets tailRate events a second through.
type sampler struct {
	second int64
	passed int
}

func (s *sampler) allow(now time.Time) bool {
	if sec := now.Unix(); sec != s.second {
		s.second, s.passed = sec, 0
	}
	s.passed++
	return s.passed <= tailRate
}

// tail is a sample of a tenant's newest events. Its room's mutex guards it.
type tail struct {
	rate  sampler
	items []sampled // the newest, newest last
	total uint64    // that there were
	left  uint64    // that there was no room for
}

// offer shows the tail an event.
func (t *tail) offer(ev *event.Event, now time.Time) {
	if !t.rate.allow(now) {
		t.left++
		return
	}
	t.items = keep(t.items, newSampled(ev))
	t.total++
}

// keep appends to a list of which the last maxQueued are kept.
func keep[T any](list []T, one T) []T {
	if len(list) >= 2*maxQueued {
		n := copy(list, list[len(list)-maxQueued+1:])
		clear(list[n:])
		list = list[:n]
	}
	return append(list, one)
}

// between is what of a list, whose last is the item number total, has the numbers from+1 to to, and how many of these it has not.
func between[T any](list []T, total, from, to uint64) (part []T, dropped uint64) {
	first := total - uint64(len(list)) // the number before the list's first
	if n := to - from; n > maxQueued {
		dropped, from = n-maxQueued, to-maxQueued
	}
	if from < first {
		dropped, from = dropped+min(first, to)-from, min(first, to)
	}
	return list[from-first : max(to, first)-first], dropped
}

func (t *tail) advance(at position, _ time.Time) position {
	return position{life: at.life, n: t.total, left: t.left}
}

// since is part of content. How many were left out is told even if no event follows.
func (t *tail) since(from, to position) ([]byte, uint64) {
	if from == to {
		return nil, 0
	}
	events, dropped := between(t.items, t.total, from.n, to.n)
	b := []byte(`,"op":"events","events":[`)
	for i := range slices.Backward(events) {
		b = append(append(b, events[i].json...), ',')
	}
	b = closeList(b)
	if left := to.left - from.left; left > 0 {
		b = strconv.AppendUint(append(b, `,"sampled_out":`...), left, 10)
	}
	return append(b, '}'), dropped
}

// closeList ends a list whose elements each have a comma behind them.
func closeList(b []byte) []byte {
	if b[len(b)-1] == ',' {
		b = b[:len(b)-1]
	}
	return append(b, ']')
}

// changes are incidents that changed.
type changes struct {
	items []changed
	total uint64
}

type changed struct {
	id   string
	json []byte
}

func (c *changes) add(id string, view []byte) {
	c.items = keep(c.items, changed{id, view})
	c.total++
}

func (c *changes) advance(at position, _ time.Time) position {
	return position{life: at.life, n: c.total}
}

// since is part of content. Of an incident that changed several times it has the last.
func (c *changes) since(from, to position) ([]byte, uint64) {
	if from == to {
		return nil, 0
	}
	items, dropped := between(c.items, c.total, from.n, to.n)
	b := []byte(`,"op":"incidents","incidents":[`)
	for i := range items {
		if !slices.ContainsFunc(items[i+1:], func(o changed) bool { return o.id == items[i].id }) {
			b = append(append(b, items[i].json...), ',')
		}
	}
	return append(closeList(b), '}'), dropped
}

// eventsSnapshot is the newest events up to a position: what the store has, and what is on its way there.
func (h *Hub) eventsSnapshot(ctx context.Context, t tenant.ID, r *room, at position) ([]byte, error) {
	stored, err := h.cfg.Store.Page(ctx, t, store.Page{Limit: tailLength})
	if err != nil {
		return nil, err
	}
	type key struct{ source, id string }
	seen := map[key]bool{}
	r.mu.Lock()
	recent := slices.Clone(r.tail.items)
	following := min(uint64(len(recent)), r.tail.total-at.n) // they come in a frame
	r.mu.Unlock()
	for i := range recent {
		seen[key{recent[i].source, recent[i].id}] = true
	}
	recent = recent[:uint64(len(recent))-following]
	slices.Reverse(recent) // newest first, as those of the store are
	// The tail leaves events out when there are many, so of those in the store some may be newer than what it has.
	for i := range stored {
		ev := &stored[i].Event
		if !seen[key{ev.Source, ev.ID}] {
			recent = append(recent, newSampled(ev))
		}
	}
	slices.SortStableFunc(recent, func(a, b sampled) int { return b.received.Compare(a.received) })
	b := []byte(`,"op":"snapshot","events":[`)
	for i := range recent[:min(len(recent), tailLength)] {
		b = append(append(b, recent[i].json...), ',')
	}
	return append(closeList(b), '}'), nil
}

// incidentsSnapshot is the open incidents.
func (h *Hub) incidentsSnapshot(ctx context.Context, t tenant.ID) ([]byte, error) {
	open, err := h.cfg.Open(ctx, t)
	if err != nil {
		return nil, err
	}
	if open == nil {
		open = []any{}
	}
	b, err := json.Marshal(open)
	return append(append([]byte(`,"op":"snapshot","incidents":`), b...), '}'), err
}
