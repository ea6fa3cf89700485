// Package limit bounds what tenants may send, in process: each one's rate, and how the room that there is for all of them is shared.
package limit

import (
	"math"
	"sync"
	"time"

	"github.com/pulsestream/pulsestream/internal/tenant"
)

// Rate is a token bucket for each tenant: so many events a second on average, and up to a second's worth at once (but at least
// one full request). The zero value is ready.
type Rate struct {
	mu      sync.Mutex
	buckets map[tenant.ID]*bucket
}

type bucket struct {
	tokens float64
	at     time.Time
	each   float64 // bytes of an event, on average; 0 before the first
}

// Decision is what a limiter says to a request, and what its answer's RateLimit headers say.
type Decision struct {
	Allowed   bool
	Limit     float64       // events a second; 0 when there is no limit
	Remaining int           // events that could be sent now
	Reset     time.Duration // until the bucket is full
	Retry     time.Duration // until a request would be allowed; 0 when it is
	Taken     float64       // events that were taken out for it, see Count
}

// Take says whether a tenant that may send perSecond events (0: as many as it likes) may send a request of so many bytes now. How many
// events a request has is known only after it was read, and to read it is what the limit saves. So those are
// taken out that a request of this size has on average, and Count corrects it. A request is allowed as long as the bucket is not
// empty, and may overdraw it: half a request cannot be refused.
func (r *Rate) Take(t tenant.ID, perSecond float64, bytes int64, now time.Time) Decision {
	if perSecond <= 0 {
		return Decision{Allowed: true}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	burst := math.Max(perSecond, 1)
	b := r.buckets[t]
	if b == nil {
		if r.buckets == nil {
			r.buckets = map[tenant.ID]*bucket{}
		}
		b = &bucket{tokens: burst, at: now}
		r.buckets[t] = b
	}
	if d := now.Sub(b.at); d > 0 {
		b.tokens += d.Seconds() * perSecond
		b.at = now
	}
	b.tokens = math.Min(burst, b.tokens)
	d := Decision{Limit: perSecond}
	if d.Allowed = b.tokens >= 1; d.Allowed {
		d.Taken = 1
		if b.each > 0 {
			d.Taken = math.Max(1, math.Min(float64(bytes)/b.each, burst))
		}
		b.tokens -= d.Taken
	} else {
		d.Retry = seconds((1 - b.tokens) / perSecond)
	}
	d.Remaining = int(math.Max(0, b.tokens))
	d.Reset = seconds((burst - b.tokens) / perSecond)
	return d
}

// Count says how many events the request really had for which Take has decided: none if nothing of it was taken.
func (r *Rate) Count(t tenant.ID, d Decision, events int, bytes int64) {
	if d.Limit <= 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	b := r.buckets[t]
	b.tokens += d.Taken - float64(events)
	if events == 0 {
		return
	}
	each := float64(bytes) / float64(events)
	if b.each == 0 {
		b.each = each
	}
	b.each += (each - b.each) / 8
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
