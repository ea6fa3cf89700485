// Package tenant holds who things belong to: the tenant, and the principal that acts for it.
package tenant

import (
	"fmt"
	"hash/fnv"
	"regexp"
	"time"
)

// ID names a tenant, e.g. "default". It is the first argument of every store call and the first word of every predicate.
type ID string

// Default is the tenant that an empty installation makes for itself.
const Default ID = "default"

// DefaultRetention is how long a tenant's events are kept, and so how late an event may arrive.
const DefaultRetention = 30 * 24 * time.Hour

// Tenant is one customer of an installation.
type Tenant struct {
	ID        ID        `json:"id"`
	Name      string    `json:"name"`
	CreatedAt time.Time `json:"created_at"`
	// RetentionDays is how many days events are kept.
	RetentionDays int `json:"retention_days"`
	// RateLimit is how many events a second the tenant may send on average, 0 for as many as it likes; without one, what the
	// installation says holds.
	RateLimit *float64 `json:"rate_limit,omitempty"`
	Quotas    Quotas   `json:"quotas,omitzero"`
}

// Quotas are how much a tenant may use; nil is as much as it likes, 0 is nothing.
type Quotas struct {
	// EventsPerMonth and BytesPerMonth are what the tenant may send in a calendar month (UTC).
	EventsPerMonth *int64 `json:"events_per_month,omitempty"`
	BytesPerMonth  *int64 `json:"bytes_per_month,omitempty"`
	// Series is how many series its metrics may have altogether. What would be one more is folded.
	Series *int64 `json:"series,omitempty"`
	Rules  *int64 `json:"rules,omitempty"`
}

// Monthly says whether anything is bounded by the month.
func (q Quotas) Monthly() bool { return q.EventsPerMonth != nil || q.BytesPerMonth != nil }

// Retention is how long events are kept.
func (t Tenant) Retention() time.Duration {
	if t.RetentionDays <= 0 {
		return DefaultRetention
	}
	return time.Duration(t.RetentionDays) * 24 * time.Hour
}

var slug = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,62}$`)

// CheckSlug says what is wrong with s as the name of a resource, or nil.
func CheckSlug(s string) error {
	if slug.MatchString(s) {
		return nil
	}
	return fmt.Errorf("%q is not a slug: use 1 to 63 of a-z, 0-9, _ and -, beginning with a letter or digit", s)
}

// Partition is the log partition of a tenant among n. It never changes for a given n: order and exclusive
// processing hang on it.
func Partition(id ID, n int) int {
	h := fnv.New32a()
	_, _ = h.Write([]byte(id))
	return int(h.Sum32() % uint32(n)) //nolint:gosec // n is a small positive partition count
}
