// Package live shows tenants what is happening now: a hub that is told by the partitions' owners what each log message adds,
// and a WebSocket on which clients subscribe to metrics, to a sample of events, and to incidents.
//
// The stream never waits for a subscriber. Clients who ask the same share one feed: its state is kept once, and each of its frames is
// encoded once, for all of them. One clock says when frames are due, a few writers send them, and a client that does not take
// at once what it is sent gets a goroutine until it has. Nor has a client a goroutine that waits for what it asks: one poller knows who
// has sent something. A metric's feed holds absolute values, so a slow client misses
// steps in between and is told so, but what it is sent next is right. Samples of events are bounded and what does not fit is
// counted.
//
//	Publish ──► room ──► feed ──(clock: a frame)──► members' connections ──(writers)──► clients
package live

import (
	"context"
	"encoding/json"
	"log/slog"
	"runtime"
	"slices"
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
	clock   clock
	writers writers
	stale   stale

	cmu    sync.Mutex
	conns  map[uint64]*conn
	last   uint64 // number of a connection
	closed bool
	ctx    context.Context // of what clients ask for; it ends when the last one has been told that the server stops
	end    context.CancelFunc

	reading sync.Once
	poller  *poller // nil where there is none
	buffers sync.Pool
}

type incidentKey struct {
	tenant tenant.ID
	id     string
}

// New makes a hub. Run must be running for anything to be sent.
func New(cfg Config) *Hub {
	h := &Hub{cfg: cfg, rooms: map[tenant.ID]*room{}, changed: make(chan struct{}, 1), ids: map[incidentKey]struct{}{}, conns: map[uint64]*conn{}}
	h.clock.wake, h.stale.wake = make(chan struct{}, 1), make(chan struct{}, 1)
	h.writers.ready.L = &h.writers.mu
	h.ctx, h.end = context.WithCancel(context.Background())
	return h
}

// room is all of one tenant.
type room struct {
	tenant tenant.ID

	mu    sync.Mutex
	mem   map[int64]*memory // by metric generation
	late  []lateDelta       // not committed, and too old for memory
	tail  tail
	feeds map[string]*feed
	// views are the feeds of each metric, tailFeed and incidents those of the topics, nil when nobody looks at them.
	views     map[int64][]*feed
	tailFeed  *feed
	incidents *feed
	key       []byte // scratch
}

// lateDelta is a copy of a delta, with the last log message that it comes from.
type lateDelta struct {
	seq   uint64
	delta *series.Delta
}

func lateOf(seq uint64, d *series.Delta) lateDelta {
	return lateDelta{seq, &series.Delta{Tenant: d.Tenant, Metric: d.Metric, Labels: d.Labels, Second: d.Second, Agg: *d.Agg.Clone()}}
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
		r = &room{tenant: t, mem: map[int64]*memory{}, feeds: map[string]*feed{}, views: map[int64][]*feed{}}
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
	var void []*feed
	for _, r := range rooms {
		r.mu.Lock()
		r.mem, r.late = map[int64]*memory{}, nil
		for _, feeds := range r.views {
			for _, f := range feeds {
				f.ready = false
				if v, ok := f.content.(*view); ok {
					v.stale = true
				}
				void = append(void, f)
			}
		}
		r.mu.Unlock()
	}
	h.History(partition, history)
	for _, f := range void {
		h.stale.add(f)
	}
}

// History gives what a metric that was just taken up looked like in the last minutes.
func (h *Hub) History(_ int, deltas []series.Delta) {
	h.publish(0, deltas)
}

// Publish gives what the log messages up to seq add to those before.
func (h *Hub) Publish(_ int, seq uint64, deltas []series.Delta, events []event.Stored) {
	h.publish(seq, deltas)
	now := h.cfg.Now()
	for len(events) > 0 {
		n := 1
		for n < len(events) && events[n].Tenant == events[0].Tenant {
			n++
		}
		r := h.room(events[0].Tenant)
		r.mu.Lock()
		for i := range events[:n] {
			r.tail.offer(&events[i].Event, now)
		}
		if r.tailFeed != nil {
			h.touch(r.tailFeed)
		}
		r.mu.Unlock()
		events = events[n:]
	}
}

// Skipped says that there were so many events besides those that were published.
func (h *Hub) Skipped(t tenant.ID, n uint64) {
	if n == 0 {
		return
	}
	r := h.room(t)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tail.left += n
	if r.tailFeed != nil {
		h.touch(r.tailFeed)
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
			h.add(r, &deltas[i], seq, oldest)
		}
		r.mu.Unlock()
		deltas = deltas[n:]
	}
}

// add takes one delta; r.mu is held.
func (h *Hub) add(r *room, d *series.Delta, seq uint64, oldest int64) {
	if d.Second >= oldest {
		m := r.mem[d.Metric]
		if m == nil {
			m = newMemory()
			r.mem[d.Metric] = m
		}
		m.add(d, oldest)
	} else if seq > 0 {
		r.late = append(r.late, lateOf(seq, d))
	}
	views := r.views[d.Metric]
	if len(views) == 0 {
		return
	}
	r.key = d.Labels.AppendKey(r.key[:0])
	for _, f := range views {
		if v, ok := f.content.(*view); ok && v.offer(d, r.key, seq, f.ready, f.at.n+1) {
			h.touch(f)
		}
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

// close takes a feed out that nobody looks at any more, or that could not be loaded; r.mu is held.
func (r *room) close(f *feed) {
	if r.feeds[f.key] == f {
		delete(r.feeds, f.key)
	}
	switch c := f.content.(type) {
	case *view:
		id := c.program.Definition().ID
		r.views[id] = slices.DeleteFunc(r.views[id], func(o *feed) bool { return o == f })
		if len(r.views[id]) == 0 {
			delete(r.views, id)
		}
	case *tail:
		r.tailFeed = nil
	case *changes:
		r.incidents = nil
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

// Run sends what is to be sent until ctx ends.
func (h *Hub) Run(ctx context.Context) {
	var running sync.WaitGroup
	defer running.Wait()
	defer h.writers.close()
	for range runtime.GOMAXPROCS(0) {
		running.Go(func() { h.writers.run(h.cfg.Now) })
	}
	running.Go(func() { h.tick(ctx) })
	running.Go(func() { h.reload(ctx) })
	running.Go(func() { h.inspect(ctx) })
	h.tell(ctx)
}

// tell passes changed incidents on.
func (h *Hub) tell(ctx context.Context) {
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
			r := h.room(k.tenant)
			r.mu.Lock()
			looked := r.incidents != nil
			r.mu.Unlock()
			if !looked {
				continue
			}
			view, err := h.cfg.Incident(ctx, k.tenant, k.id)
			var b []byte
			if err == nil {
				b, err = json.Marshal(view)
			}
			if err != nil {
				if ctx.Err() == nil {
					h.cfg.Log.Error("an incident could not be shown live", "tenant.id", string(k.tenant), "error.message", err.Error())
				}
				continue
			}
			r.mu.Lock()
			if f := r.incidents; f != nil {
				if c, ok := f.content.(*changes); ok {
					c.add(k.id, b)
					h.touch(f)
				}
			}
			r.mu.Unlock()
		}
	}
}

// Close ends all connections.
func (h *Hub) Close() {
	h.cmu.Lock()
	defer h.cmu.Unlock()
	if h.closed {
		return
	}
	h.closed = true
	var told sync.WaitGroup
	for _, c := range h.conns {
		told.Go(func() { c.bye(stopping()) })
	}
	go func() {
		told.Wait()
		h.end()
	}()
}
