// Package limit bounds what a tenant may send: rates, in process.
package limit

import (
	"math"
	"sync"
	"time"

	"github.com/pulsestream/pulsestream/internal/tenant"
)

// Rate is a token bucket for each tenant: Events a second on average, and up to a second's worth at once (but at least
// one full request). The zero rate limits nothing.
type Rate struct {
	perSecond float64
	burst     float64

	mu      sync.Mutex
	buckets map[tenant.ID]*bucket
}

type bucket struct {
	tokens float64
	at     time.Time
}

// Decision is what a limiter says to a request, and what its answer's RateLimit headers say.
type Decision struct {
	Allowed   bool
	Limit     float64       // events a second; 0 when there is no limit
	Remaining int           // events that could be sent now
	Reset     time.Duration // until the bucket is full
	Retry     time.Duration // until this request would be allowed; 0 when it is
}

// NewRate makes a limiter of perSecond events for each tenant.
func NewRate(perSecond float64) *Rate {
	return &Rate{perSecond: perSecond, burst: math.Max(perSecond, 1), buckets: map[tenant.ID]*bucket{}}
}

// Check says whether anything may be sent at all now, before a request is read.
func (r *Rate) Check(t tenant.ID, now time.Time) Decision { return r.Take(t, 0, now) }

// Take takes n events out of a tenant's bucket. A request is allowed as long as the bucket is not empty, and may then
// overdraw it: how many events a request has is known only after it was read, and half a request cannot be refused.
func (r *Rate) Take(t tenant.ID, n int, now time.Time) Decision {
	if r.perSecond <= 0 {
		return Decision{Allowed: true}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	b := r.buckets[t]
	if b == nil {
		b = &bucket{tokens: r.burst, at: now}
		r.buckets[t] = b
	}
	if d := now.Sub(b.at); d > 0 {
		b.tokens = math.Min(r.burst, b.tokens+d.Seconds()*r.perSecond)
		b.at = now
	}
	d := Decision{Limit: r.perSecond}
	if d.Allowed = b.tokens >= 1; d.Allowed {
		b.tokens -= float64(n)
	} else {
		d.Retry = seconds((1 - b.tokens) / r.perSecond)
	}
	d.Remaining = int(math.Max(0, b.tokens))
	d.Reset = seconds((r.burst - b.tokens) / r.perSecond)
	return d
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
