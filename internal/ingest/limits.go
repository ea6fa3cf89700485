package ingest

import (
	"fmt"
	"math"
	"net/http"
	"strings"
	"time"

	"github.com/pulsestream/pulsestream/internal/event"
	"github.com/pulsestream/pulsestream/internal/limit"
	"github.com/pulsestream/pulsestream/internal/tenant"
	"github.com/pulsestream/pulsestream/internal/web"
)

// longestRetry bounds what a refusal for a quota says of when to come back: a month may be long, and a quota can be raised at any time.
const longestRetry = time.Hour

// monthWindow is the window of what is counted by the month: the header knows windows of fixed length, and months are not.
const monthWindow = 31 * 24 * time.Hour

// limits decides by what somebody has set: the rates of the tenant and of the key, and the tenant's quotas of the month. Its error is a Problem, and it sets
// the RateLimit headers.
func (v *Visit) limits(h http.Header) error {
	d, s := v.door, &v.sender
	v.tenant, v.key = d.rate.Take(s.Tenant, s.Rate, v.body), limit.Decision{Allowed: true}
	if v.tenant.Allowed && s.KeyRate > 0 {
		if v.key = d.rate.Take(ofKey(s.Key), s.KeyRate, v.body); !v.key.Allowed {
			d.rate.Count(s.Tenant, v.tenant, 0, 0)
		}
	}
	var said policies
	said.rate("events", v.tenant)
	said.rate("key", v.key)
	over := said.month(d.quotas, s)
	said.header(h)
	switch {
	case !v.tenant.Allowed:
		d.refused(s.Tenant, "rate")
		return tooMany(fmt.Sprintf("This tenant may send %g events a second on average.", v.tenant.Limit), v.tenant.Retry)
	case !v.key.Allowed:
		d.refused(s.Tenant, "key-rate")
		return tooMany(fmt.Sprintf("This key may send %g events a second on average.", v.key.Limit), v.key.Retry)
	case over != nil:
		v.count()
		d.refused(s.Tenant, "quota")
		return over
	}
	return nil
}

// ofKey is how a meter is asked for a key: no tenant has such a name.
func ofKey(subject string) tenant.ID { return tenant.ID("limit " + subject) }

func tooMany(detail string, retry time.Duration) *web.Problem {
	p := web.NewProblem(http.StatusTooManyRequests, detail)
	p.RetryAfter = max(retry, time.Second)
	return p
}

// count corrects the rates to what was taken.
func (v *Visit) count() {
	v.door.rate.Count(v.sender.Tenant, v.tenant, v.events, v.body)
	if v.key.Limit > 0 {
		v.door.rate.Count(ofKey(v.sender.Key), v.key, v.events, v.body)
	}
}

// taken counts for the quotas of the month.
func (v *Visit) taken(events []event.Event) {
	if v.door.quotas == nil || !v.sender.Quotas.Monthly() {
		return
	}
	bytes := int64(0)
	for i := range events {
		bytes += events[i].Size()
	}
	v.door.quotas.Taken(v.sender.Tenant, int64(len(events)), bytes)
}

// policies are what the RateLimit headers say, a policy each.
type policies struct{ policy, left []string }

func (p *policies) rate(name string, d limit.Decision) {
	if d.Limit <= 0 {
		return
	}
	p.policy = append(p.policy, fmt.Sprintf(`"%s";q=%d;w=1`, name, int(math.Max(1, d.Limit))))
	p.left = append(p.left, fmt.Sprintf(`"%s";r=%d;t=%d`, name, d.Remaining, int(math.Ceil(d.Reset.Seconds()))))
}

// month adds the quotas of the month; the Problem says which is used up.
func (p *policies) month(q Quotas, s *Sender) (over error) {
	if q == nil || !s.Quotas.Monthly() {
		return nil
	}
	events, bytes, resets := q.Month(s.Tenant)
	for _, one := range []struct {
		name, unit, what string
		limit            *int64
		used             int64
	}{{"month", "", "events", s.Quotas.EventsPerMonth, events}, {"month-bytes", `;qu="content-bytes"`, "bytes of events", s.Quotas.BytesPerMonth, bytes}} {
		if one.limit == nil {
			continue
		}
		p.policy = append(p.policy, fmt.Sprintf(`"%s";q=%d%s;w=%d`, one.name, *one.limit, one.unit, int(monthWindow.Seconds())))
		p.left = append(p.left, fmt.Sprintf(`"%s";r=%d;t=%d`, one.name, max(0, *one.limit-one.used), int(math.Ceil(resets.Seconds()))))
		if one.used >= *one.limit {
			problem := tooMany(fmt.Sprintf("This tenant has used up its quota of %d %s a month; the next month begins in %v. Ask the operator of the installation for more.",
				*one.limit, one.what, resets.Round(time.Minute)), min(resets, longestRetry))
			problem.Code = "quota_exceeded"
			over = problem
		}
	}
	return over
}

func (p *policies) header(h http.Header) {
	if len(p.policy) == 0 {
		return
	}
	h.Set("RateLimit-Policy", strings.Join(p.policy, ", "))
	h.Set("RateLimit", strings.Join(p.left, ", "))
}
