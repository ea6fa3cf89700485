package limit

import (
	"math"
	"time"
)

// bucket is what is kept of a limit: how many events of it are used up, and as of when. Used falls by perSecond each second.
//
// This is the generic cell rate algorithm in its form of a leaky bucket (ITU-T I.371 has both). The other form, one number for the time at which
// all would be free again, cannot tell a large debt from a clock that was set back, and would refuse everything until the old time is reached
// again.
type bucket struct {
	used float64
	at   float64 // microseconds since 1970: what Redis counts in too
}

// burst is how many events may come at once: those of a second, and one at least.
func burst(perSecond float64) float64 { return math.Max(perSecond, 1) }

// take charges more events whatever the limit says, and then cost ones if there is still room for one. A request so may overdraw its
// limit: half of it cannot be refused. internal/limit/redis has the same in Lua, to the last bit.
func (b *bucket) take(now, perSecond, more, cost float64) (allowed bool) {
	// A clock that goes back gives nothing and takes nothing: it goes on from there.
	used := math.Max(0, b.used-float64(math.Max(0, now-b.at)*perSecond)/1e6)
	used = math.Max(0, used+more)
	if allowed = used <= burst(perSecond)-1; allowed {
		used += cost
	}
	b.used, b.at = used, now
	return allowed
}

// Usage is what a Meter says of a limit.
type Usage struct {
	Allowed bool
	Used    float64 // events of the limit that are used up, those of this request too if it is allowed
}

// Decision is what a limiter says to a request, and what its answer's RateLimit headers say.
type Decision struct {
	Allowed   bool
	Limit     float64       // events a second; 0 when there is no limit
	Remaining int           // events that could be sent now
	Reset     time.Duration // until the bucket is full
	Retry     time.Duration // until a request would be allowed; 0 when it is
	Taken     float64       // events that were taken out for it, see Rate.Count
}

// decision is a meter's answer to a request for which so many events were asked.
func decision(u Usage, perSecond, asked float64) Decision {
	d := Decision{Allowed: u.Allowed, Limit: perSecond, Remaining: int(math.Max(0, burst(perSecond)-u.Used)), Reset: seconds(u.Used / perSecond)}
	if u.Allowed {
		d.Taken = asked
	} else {
		d.Retry = seconds((u.Used - burst(perSecond) + 1) / perSecond)
	}
	return d
}

func seconds(s float64) time.Duration {
	return time.Duration(math.Min(s*float64(time.Second), math.MaxInt64/2))
}
