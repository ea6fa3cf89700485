// Package live shows tenants what is happening now: a hub that is told by the partitions' owners what each log message adds,
// and a WebSocket on which clients subscribe to metrics, to a sample of events, and to incidents.
//
// The stream never waits for a subscriber. A metric's subscription holds absolute values, so a slow client misses steps in
// between and is told so, but what it is sent next is right. Samples of events are bounded and what does not fit is counted.
package live

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/pulsestream/pulsestream/internal/alert"
	"github.com/pulsestream/pulsestream/internal/event"
	"github.com/pulsestream/pulsestream/internal/metric"
	"github.com/pulsestream/pulsestream/internal/query"
	"github.com/pulsestream/pulsestream/internal/series"
	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

// Store is what the hub needs of store.Events.
type Store interface {
	Partition(ctx context.Context, partition int) (store.PartitionState, error)
	Page(ctx context.Context, t tenant.ID, p store.Page) ([]event.Stored, error)
}

// Querier answers for the time before the hub's memory.
type Querier interface {
	Aggregates(ctx context.Context, t tenant.ID, p *metric.Program, q query.Query) ([]query.Group, error)
}

// Config is what a Hub needs.
type Config struct {
	Log   *slog.Logger
	Now   func() time.Time
	Store Store
	Query Querier
	// Metrics are a tenant's metrics as they are now.
	Metrics func(ctx context.Context, t tenant.ID) (*metric.Set, error)
	// Open returns a tenant's open incidents, Incident one of them, as JSON encodes them.
	Open     func(ctx context.Context, t tenant.ID) ([]any, error)
	Incident func(ctx context.Context, t tenant.ID, id string) (any, error)
	// Span is how far back one-second steps are held in memory; the partitions' owners give history as far.
	Span       time.Duration
	Partitions int
	// Wake is called after each commit that changed incidents; it must not block.
	Wake func()
}

// Hub is told what happens and passes it on. It implements process.Live.
type Hub struct {
	cfg     Config
	mu      sync.RWMutex
	rooms   map[tenant.ID]*room
	changed chan struct{} // a token when incidents is not empty
	imu     sync.Mutex
	ids     map[incidentKey]struct{}
	closing chan struct{}
	once    sync.Once
}

type incidentKey struct {
	tenant tenant.ID
	id     string
}

// New makes a hub. Run must be running for incidents to be passed on.
func New(cfg Config) *Hub {
	return &Hub{cfg: cfg, rooms: map[tenant.ID]*room{}, changed: make(chan struct{}, 1), ids: map[incidentKey]struct{}{}, closing: make(chan struct{})}
}

// room is all of one tenant.
type room struct {
	mu   sync.Mutex
	mem  map[int64]*memory // by metric generation
	late []lateDelta       // not committed, and too old for memory
	tail []sampled         // the newest events, newest last
	rate sampler
	subs map[*subscription]struct{}
}

// lateDelta is a delta with the log message that it comes from.
type lateDelta struct {
	seq   uint64
	delta *series.Delta
}

func (h *Hub) room(t tenant.ID) *room {
	h.mu.RLock()
	r := h.rooms[t]
	h.mu.RUnlock()
	if r != nil {
		return r
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if r = h.rooms[t]; r == nil {
		r = &room{mem: map[int64]*memory{}, subs: map[*subscription]struct{}{}}
		h.rooms[t] = r
	}
	return r
}

// Restart forgets what was published of a partition and takes history in its place. Subscriptions begin anew too.
func (h *Hub) Restart(partition int, history []series.Delta) {
	h.mu.RLock()
	var rooms []*room
	for t, r := range h.rooms {
		if tenant.Partition(t, h.cfg.Partitions) == partition {
			rooms = append(rooms, r)
		}
	}
	h.mu.RUnlock()
	for _, r := range rooms {
		r.mu.Lock()
		r.mem, r.late = map[int64]*memory{}, nil
		for s := range r.subs {
			s.restart()
		}
		r.mu.Unlock()
	}
	h.History(partition, history)
}

// History gives what a metric that was just taken up looked like in the last minutes.
func (h *Hub) History(_ int, deltas []series.Delta) {
	h.publish(0, deltas)
}

// Publish gives what the log message seq adds.
func (h *Hub) Publish(_ int, seq uint64, deltas []series.Delta, events []event.Stored) {
	h.publish(seq, deltas)
	now := h.cfg.Now()
	for i := range events {
		h.room(events[i].Tenant).sample(&events[i].Event, now)
	}
}

func (h *Hub) publish(seq uint64, deltas []series.Delta) {
	now := h.cfg.Now().Unix()
	oldest := now - int64(h.cfg.Span/time.Second)
	for len(deltas) > 0 {
		t, n := deltas[0].Tenant, 1
		for n < len(deltas) && deltas[n].Tenant == t {
			n++
		}
		r := h.room(t)
		r.mu.Lock()
		for i := range deltas[:n] {
			r.add(&deltas[i], seq, oldest)
		}
		r.mu.Unlock()
		deltas = deltas[n:]
	}
}

// add takes one delta; r.mu is held.
func (r *room) add(d *series.Delta, seq uint64, oldest int64) {
	if d.Second >= oldest {
		m := r.mem[d.Metric]
		if m == nil {
			m = &memory{seconds: map[int64]map[string]*cell{}}
			r.mem[d.Metric] = m
		}
		m.add(d, oldest)
	} else if seq > 0 {
		r.late = append(r.late, lateDelta{seq, d})
	}
	for s := range r.subs {
		s.offer(d, seq)
	}
}

// Committed says that all up to seq is in the store, with these transitions of incidents.
func (h *Hub) Committed(partition int, seq uint64, transitions []alert.Transition) {
	h.mu.RLock()
	for t, r := range h.rooms {
		if tenant.Partition(t, h.cfg.Partitions) == partition {
			r.committed(seq)
		}
	}
	h.mu.RUnlock()
	if len(transitions) == 0 {
		return
	}
	h.cfg.Wake()
	for i := range transitions {
		h.IncidentChanged(transitions[i].Tenant, transitions[i].Incident)
	}
}

func (r *room) committed(seq uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := 0
	for n < len(r.late) && r.late[n].seq <= seq {
		n++
	}
	if n > 0 {
		r.late = append(r.late[:0:0], r.late[n:]...)
	}
}

// IncidentChanged has an incident sent to those who look at incidents.
func (h *Hub) IncidentChanged(t tenant.ID, id string) {
	h.imu.Lock()
	h.ids[incidentKey{t, id}] = struct{}{}
	h.imu.Unlock()
	select {
	case h.changed <- struct{}{}:
	default:
	}
}

// Run passes changed incidents on until ctx ends.
func (h *Hub) Run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-h.changed:
		}
		h.imu.Lock()
		ids := h.ids
		h.ids = map[incidentKey]struct{}{}
		h.imu.Unlock()
		for k := range ids {
			view, err := h.cfg.Incident(ctx, k.tenant, k.id)
			if err != nil {
				if ctx.Err() == nil {
					h.cfg.Log.Error("an incident could not be shown live", "tenant.id", string(k.tenant), "error.message", err.Error())
				}
				continue
			}
			r := h.room(k.tenant)
			r.mu.Lock()
			for s := range r.subs {
				s.incident(k.id, view)
			}
			r.mu.Unlock()
		}
	}
}

// Close ends all connections.
func (h *Hub) Close() { h.once.Do(func() { close(h.closing) }) }
