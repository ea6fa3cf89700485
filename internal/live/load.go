package live

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/pulsestream/pulsestream/internal/query"
	"github.com/pulsestream/pulsestream/internal/series"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

// load fills a feed's view from memory and, for what is older, from the store. After it every delta is offered exactly once.
func (h *Hub) load(ctx context.Context, t tenant.ID, f *feed, v *view) error {
	r, id := f.room, v.program.Definition().ID
	now := h.cfg.Now()
	from := series.Align(now.Add(-v.span), v.query.Step)
	// What memory has in full, from a whole minute on, comes from there.
	boundary := series.Align(now.Add(-h.cfg.Span), time.Minute).Add(time.Minute)
	r.mu.Lock()
	f.ready = false
	v.query.From, v.boundary, v.loadedAt = from, boundary.Unix(), now
	v.groups, v.order, v.known, v.snap = map[string]*group{}, nil, map[string]*group{}, nil
	v.stale, v.folded, v.late = false, false, nil
	if m := r.mem[id]; m != nil {
		m.since(v.boundary, func(labels series.Labels, second int64, agg *series.Agg) {
			r.key = labels.AppendKey(r.key[:0])
			v.merge(labels, r.key, second, agg, 0)
		})
	}
	for _, l := range r.late {
		if l.delta.Metric == id {
			v.late = append(v.late, l)
		}
	}
	r.mu.Unlock()

	var older []query.Group
	var offset uint64
	if from.Before(boundary) {
		var err error
		if older, offset, err = h.older(ctx, t, v, from, boundary); err != nil {
			return err
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if v.stale {
		return nil // it will be loaded again
	}
	for i := range older {
		g := v.group(older[i].Labels)
		for j := range older[i].Steps {
			s := &older[i].Steps[j]
			v.add(&g.at(s.UnixMS).agg, &s.Agg)
		}
	}
	for _, l := range v.late {
		if l.seq > offset {
			v.merge(l.delta.Labels, l.delta.Labels.AppendKey(nil), l.delta.Second, &l.delta.Agg, 0)
		}
	}
	v.late = nil
	f.begin()
	return nil
}

// older asks the store for what lies before the boundary, and says up to which log message the answer goes.
func (h *Hub) older(ctx context.Context, t tenant.ID, v *view, from, boundary time.Time) (groups []query.Group, offset uint64, err error) {
	q := v.query
	q.From, q.To = from, boundary
	p := tenant.Partition(t, h.cfg.Partitions)
	for i := range 3 {
		before, err := h.cfg.Store.Partition(ctx, p)
		if err != nil {
			return nil, 0, err
		}
		answer, err := h.cfg.Query.Aggregates(ctx, t, v.program, q)
		if errors.Is(err, query.ErrBusy) && i > 0 {
			break // the one before will do
		}
		if err != nil {
			return nil, 0, err
		}
		groups = answer
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

// stale are the feeds whose view must be loaded again.
type stale struct {
	mu    sync.Mutex
	feeds map[*feed]struct{}
	wake  chan struct{}
}

func (s *stale) add(f *feed) {
	s.mu.Lock()
	if s.feeds == nil {
		s.feeds = map[*feed]struct{}{}
	}
	s.feeds[f] = struct{}{}
	s.mu.Unlock()
	signal(s.wake)
}

func (s *stale) take() map[*feed]struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	feeds := s.feeds
	s.feeds = nil
	return feeds
}

// reload loads views again whose partition's owner began anew, until ctx ends.
func (h *Hub) reload(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-h.stale.wake:
		}
		for f := range h.stale.take() {
			<-f.loaded
			v, ok := f.content.(*view)
			if !ok || f.err != nil {
				continue
			}
			if err := h.load(ctx, f.room.tenant, f, v); err != nil {
				h.cfg.Log.Error("live data could not be read, it will be tried again", "tenant.id", string(f.room.tenant), "error.message", err.Error())
				h.stale.add(f)
				if !pause(ctx, time.Second) {
					return
				}
				continue
			}
			h.rouse(f)
		}
	}
}
