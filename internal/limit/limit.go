// Package limit bounds what tenants may send: each one's rate, and how the room that there is for all of them is shared.
package limit

import (
	"math"
	"sync"
	"time"

	"github.com/pulsestream/pulsestream/internal/tenant"
)

// Meter keeps how much of each tenant's limit is used up: so many events a second on average, and up to a second's worth at once. Package
// limittest holds what each of them has to do.
type Meter interface {
	// Take charges n events to the tenant's limit, if there is room for one.
	Take(t tenant.ID, perSecond, n float64) Usage
	// Add charges n more, or gives back -n, whatever the limit says.
	Add(t tenant.ID, perSecond, n float64)
}

// Rate is a rate limit for each tenant, in events, for requests of which only the bytes are known.
type Rate struct {
	meter Meter
	mu    sync.Mutex
	each  map[tenant.ID]float64 // bytes of an event, on average
}

// NewRate makes a Rate that is counted by a meter.
func NewRate(m Meter) *Rate { return &Rate{meter: m, each: map[tenant.ID]float64{}} }

// Take says whether a tenant that may send perSecond events (0: as many as it likes) may send a request of so many bytes now. How many
// events a request has is known only after it was read, and to read it is what the limit saves. So those are
// charged that a request of this size has on average, and Count corrects it. A request is allowed as long as there is room for one event, and
// may take more: half a request cannot be refused.
func (r *Rate) Take(t tenant.ID, perSecond float64, bytes int64) Decision {
	if perSecond <= 0 {
		return Decision{Allowed: true}
	}
	r.mu.Lock()
	each := r.each[t]
	r.mu.Unlock()
	n := 1.0
	if each > 0 {
		n = math.Max(1, math.Min(float64(bytes)/each, burst(perSecond)))
	}
	return decision(r.meter.Take(t, perSecond, n), perSecond, n)
}

// Count says how many events the request really had for which Take has decided: none if nothing of it was taken.
func (r *Rate) Count(t tenant.ID, d Decision, events int, bytes int64) {
	if d.Limit <= 0 {
		return
	}
	if n := float64(events) - d.Taken; n != 0 {
		r.meter.Add(t, d.Limit, n)
	}
	if events == 0 {
		return
	}
	each := float64(bytes) / float64(events)
	r.mu.Lock()
	defer r.mu.Unlock()
	if before := r.each[t]; before > 0 {
		each = before + (each-before)/8
	}
	r.each[t] = each
}

// Local is a Meter of this process alone.
type Local struct {
	now     func() time.Time
	mu      sync.Mutex
	buckets map[tenant.ID]*bucket
}

// NewLocal makes a Local with a clock.
func NewLocal(now func() time.Time) *Local {
	return &Local{now: now, buckets: map[tenant.ID]*bucket{}}
}

// Take is Meter's.
func (l *Local) Take(t tenant.ID, perSecond, n float64) Usage {
	return l.take(t, perSecond, 0, n)
}

// Add is Meter's.
func (l *Local) Add(t tenant.ID, perSecond, n float64) { l.take(t, perSecond, n, 0) }

func (l *Local) take(t tenant.ID, perSecond, more, cost float64) Usage {
	now := float64(l.now().UnixMicro())
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.buckets[t]
	if b == nil {
		b = &bucket{at: now}
		l.buckets[t] = b
	}
	allowed := b.take(now, perSecond, more, cost)
	return Usage{Allowed: allowed, Used: b.used}
}
