package store

import (
	"context"
	"time"

	"github.com/pulsestream/pulsestream/internal/event"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

// Usage is what a tenant has used in one hour. Each half of the store keeps its part of it: Events the events and bytes that its commits
// have brought, the catalog all else, and a copy of those that outlives the store of events.
type Usage struct {
	Tenant tenant.ID
	Hour   time.Time // when it begins; UTC
	// Events is how many events were stored, duplicates not counted, and Bytes how large they were by event.Event.Size. An event belongs to the hour in which the
	// log received it: that stands in the log, so however often the log is read the same comes out.
	Events, Bytes int64
	// Series is how many series had an event of this hour, by the time of the event.
	Series int64
	// Queries is how many questions were answered, and Notifications how many were delivered.
	Queries, Notifications int64
	// Revision counts the changes of what the catalog has of the hour, and Billed is the revision that a billing system has been told, 0 for none.
	Revision, Billed int64
}

// UsageKey is what Usage is told from others by.
type UsageKey struct {
	Tenant tenant.ID
	Hour   int64 // hours since 1970
}

// HourOf is the hour of a time.
func HourOf(at time.Time) int64 {
	s := at.Unix()
	if s < 0 {
		s -= 3599
	}
	return s / 3600
}

// HourAt is the time at which an hour begins.
func HourAt(hour int64) time.Time { return time.Unix(hour*3600, 0).UTC() }

// Counted is what events make of the usage of their tenants.
type Counted struct {
	of   map[UsageKey]*Counts
	last UsageKey
	to   *Counts // of last
}

// Counts are events and bytes.
type Counts struct{ Events, Bytes int64 }

// Add counts an event. Those that follow each other mostly are of one tenant and hour, and cost next to nothing.
func (c *Counted) Add(ev *event.Stored) {
	hour := HourOf(ev.Received)
	if c.to == nil || hour != c.last.Hour || ev.Tenant != c.last.Tenant {
		c.last = UsageKey{ev.Tenant, hour}
		if c.of == nil {
			c.of = map[UsageKey]*Counts{}
		}
		if c.to = c.of[c.last]; c.to == nil {
			c.to = &Counts{}
			c.of[c.last] = c.to
		}
	}
	c.to.Events++
	c.to.Bytes += ev.Size()
}

// Len is of how many tenants and hours there is something.
func (c *Counted) Len() int { return len(c.of) }

// Each gives what was counted, in no certain order.
func (c *Counted) Each(each func(k UsageKey, n Counts)) {
	for k, n := range c.of {
		each(k, *n)
	}
}

// UsageBook is the catalog's part of usage.
type UsageBook interface {
	// AddUsage adds Queries of rows to what there is.
	AddUsage(ctx context.Context, rows []Usage) error
	// KeepUsage raises Events, Bytes and Series to those of rows, where they are less.
	KeepUsage(ctx context.Context, rows []Usage) error
	// Usage gives what there is of a tenant, of all tenants when it is empty, in the hours from (inclusive) to (exclusive), by tenant and hour.
	Usage(ctx context.Context, t tenant.ID, from, to time.Time) ([]Usage, error)
	// Unbilled gives rows of hours before a time whose Revision is past their Billed, oldest first, at most limit.
	Unbilled(ctx context.Context, before time.Time, limit int) ([]Usage, error)
	// Bill notes of rows that their Revision was told to the billing system.
	Bill(ctx context.Context, rows []Usage) error
}
