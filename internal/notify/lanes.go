package notify

import (
	"slices"
	"time"

	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

// lanes decides whose turn it is. Claimed jobs wait in one lane for each channel; turns go to the tenant that has the fewest in
// flight, and within it to the channel that has the fewest, the longest unserved first.
//
// A lane whose last attempt failed is suspect. It gets one attempt at a time, and all suspect lanes together get no more than half of
// the turns: endpoints that hang until the timeout, however many and whose ever they are, leave the other half to those that answer.
//
// It is not safe for concurrent use and does no I/O; times are arguments.
type lanes struct {
	cfg             Config
	tenants         map[tenant.ID]*tenantLanes
	held            map[jobKey]*item
	inFlight        int
	suspectInFlight int
	turn            uint64
}

type jobKey struct {
	tenant tenant.ID
	id     string
}

type tenantLanes struct {
	inFlight int
	waiting  int
	served   uint64
	channels map[string]*lane
}

type lane struct {
	waiting  []*item
	inFlight int
	served   uint64
	suspect  bool
	why      string          // the error that made it suspect
	busy     map[string]bool // incidents in flight: they keep their order
}

// item is a job that this process has a lease on.
type item struct {
	job      store.Job
	leased   time.Time // until when
	flying   bool
	suspect  bool       // it took off as one of the suspect half
	renewing bool       // its lease is being written, so it must not take off: its end could be overwritten
	again    *store.Job // claimed anew while it was flying
}

func newLanes(cfg Config) *lanes {
	return &lanes{cfg: cfg, tenants: map[tenant.ID]*tenantLanes{}, held: map[jobKey]*item{}}
}

func keyOf(j store.Job) jobKey { return jobKey{j.Tenant, j.ID} }

func (l *lanes) lane(j store.Job) (*tenantLanes, *lane) {
	t := l.tenants[j.Tenant]
	if t == nil {
		t = &tenantLanes{channels: map[string]*lane{}}
		l.tenants[j.Tenant] = t
	}
	c := t.channels[j.Channel]
	if c == nil {
		c = &lane{busy: map[string]bool{}}
		t.channels[j.Channel] = c
	}
	return t, c
}

// add takes a claimed job, whose lease ends at its NextAt. It reports false when the lane is full.
func (l *lanes) add(j store.Job) bool {
	if held, ok := l.held[keyOf(j)]; ok {
		// It was due again before we were done with it: either its lease had ended, or its attempt was just recorded.
		if held.flying {
			held.again = &j
		} else {
			held.job, held.leased = j, j.NextAt
		}
		return true
	}
	t, c := l.lane(j)
	if len(c.waiting) >= l.cfg.Waiting {
		return false
	}
	it := &item{job: j, leased: j.NextAt}
	c.waiting = append(c.waiting, it)
	t.waiting++
	l.held[keyOf(j)] = it
	return true
}

// next takes off the job whose turn it is, if there is one and a slot for it.
func (l *lanes) next() (store.Job, bool) {
	if l.inFlight >= l.cfg.Concurrency {
		return store.Job{}, false
	}
	var bestTenant *tenantLanes
	var bestLane *lane
	at := 0
	for _, t := range l.tenants {
		if t.waiting == 0 || t.inFlight >= l.cfg.PerTenant || (bestTenant != nil && !sooner(t.inFlight, t.served, bestTenant.inFlight, bestTenant.served)) {
			continue
		}
		if c, i := l.nextLane(t); c != nil {
			bestTenant, bestLane, at = t, c, i
		}
	}
	if bestLane == nil {
		return store.Job{}, false
	}
	it := bestLane.waiting[at]
	bestLane.waiting = slices.Delete(bestLane.waiting, at, at+1)
	l.turn++
	bestTenant.waiting--
	bestTenant.inFlight++
	bestLane.inFlight++
	bestTenant.served, bestLane.served = l.turn, l.turn
	bestLane.busy[it.job.Incident] = true
	l.inFlight++
	it.flying, it.suspect = true, bestLane.suspect
	if it.suspect {
		l.suspectInFlight++
	}
	return it.job, true
}

func sooner(inFlight int, served uint64, than int, servedThan uint64) bool {
	return inFlight < than || inFlight == than && served < servedThan
}

// nextLane finds the lane of a tenant whose turn it is, and which of its jobs.
func (l *lanes) nextLane(t *tenantLanes) (*lane, int) {
	var best *lane
	at := 0
	for _, c := range t.channels {
		limit := l.cfg.PerChannel
		if c.suspect {
			limit = 1
			if l.suspectInFlight >= max(1, l.cfg.Concurrency/2) {
				continue
			}
		}
		if c.inFlight >= limit || (best != nil && !sooner(c.inFlight, c.served, best.inFlight, best.served)) {
			continue
		}
		for i, it := range c.waiting {
			if !c.busy[it.job.Incident] && !it.renewing {
				best, at = c, i
				break
			}
		}
	}
	return best, at
}

// landed says that the attempt at j is over, and what it says about the channel: nil for nothing.
func (l *lanes) landed(j store.Job, o *Outcome) {
	it := l.held[keyOf(j)]
	if it == nil || !it.flying {
		return
	}
	t, c := l.lane(j)
	delete(l.held, keyOf(j))
	delete(c.busy, j.Incident)
	l.inFlight--
	t.inFlight--
	c.inFlight--
	if it.suspect {
		l.suspectInFlight--
	}
	if o != nil {
		c.suspect = o.Err != nil && o.Retry
	}
	if o != nil && c.suspect {
		c.why = o.Err.Error()
	}
	if it.again != nil {
		l.add(*it.again) // a full lane lets it go until its lease ends
	}
	l.tidy(j.Tenant, t, j.Channel, c)
}

// tidy forgets lanes of which there is nothing to remember.
func (l *lanes) tidy(id tenant.ID, t *tenantLanes, slug string, c *lane) {
	if len(c.waiting) == 0 && c.inFlight == 0 && !c.suspect {
		delete(t.channels, slug)
	}
	if len(t.channels) == 0 {
		delete(l.tenants, id)
	}
}

// full says that no more jobs should be claimed for now.
func (l *lanes) full() bool { return len(l.held) >= l.cfg.Held }

// expiring returns the waiting jobs whose lease ends before until. Those of suspect lanes are let go, with the reason; the
// others are to be renewed, and wait for renewed or drop until they take off.
func (l *lanes) expiring(until time.Time) (renew []store.Job, letGo []released) {
	for id, t := range l.tenants {
		for slug, c := range t.channels {
			kept := c.waiting[:0]
			for _, it := range c.waiting {
				switch {
				case it.leased.After(until):
				case c.suspect:
					letGo = append(letGo, released{it.job, c.why})
					delete(l.held, keyOf(it.job))
					t.waiting--
					continue
				default:
					it.renewing = true
					renew = append(renew, it.job)
				}
				kept = append(kept, it)
			}
			clear(c.waiting[len(kept):])
			c.waiting = kept
			l.tidy(id, t, slug, c)
		}
	}
	return renew, letGo
}

// released is a waiting job that goes back to the queue, and what was wrong with its channel.
type released struct {
	job store.Job
	why string
}

// renewed ends what expiring has begun for a job, with its new lease, or the old one when there is no new one.
func (l *lanes) renewed(j store.Job) {
	if it := l.held[keyOf(j)]; it != nil && !it.flying {
		it.job, it.leased, it.renewing = j, j.NextAt, false
	}
}

// drop forgets a waiting job that somebody else has claimed.
func (l *lanes) drop(j store.Job) {
	it := l.held[keyOf(j)]
	if it == nil || it.flying {
		return
	}
	t, c := l.lane(j)
	c.waiting = slices.DeleteFunc(c.waiting, func(w *item) bool { return w == it })
	t.waiting--
	delete(l.held, keyOf(j))
	l.tidy(j.Tenant, t, j.Channel, c)
}

// empty takes all waiting jobs out.
func (l *lanes) empty() []store.Job {
	var out []store.Job
	for _, t := range l.tenants {
		for _, c := range t.channels {
			for _, it := range c.waiting {
				out = append(out, it.job)
				delete(l.held, keyOf(it.job))
			}
			t.waiting -= len(c.waiting)
			c.waiting = nil
		}
	}
	return out
}
