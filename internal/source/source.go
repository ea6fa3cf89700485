// Package source takes vendors' webhooks: it verifies that a delivery is really the vendor's and turns it into events
// that keep the vendor's own id, type and time.
//
// A vendor is data. Scheme says how deliveries are signed, Mapping says where an event's attributes stand, Metrics are
// the vendor's standard metrics; one engine reads them all. So a new vendor is a new file with one table, and a mistake
// in the verification can only be made in one place.
//
// What Receive returns still needs the caller's part: Source (the slug of the configured source) and the check of Time
// against the tenant's retention.
package source

import (
	"maps"
	"slices"

	"github.com/pulsestream/pulsestream/internal/metric"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

// Vendor is one sender of webhooks. Treat it as read-only: everybody shares a Catalogue's.
type Vendor struct {
	// Slug names the vendor in the API, e.g. "stripe".
	Slug string
	// Name is for people.
	Name string
	// Docs is the vendor's own page about its webhooks.
	Docs string
	// SecretHint tells people where the vendor shows or asks for the secret.
	SecretHint string
	Scheme     Scheme
	Mapping    Mapping
	// Metrics are the standard metrics; see MetricsFor.
	Metrics []metric.Definition
	Health  Health
}

// Health says what part of a vendor's traffic counts as errors: the share Errors/Total. Both metrics have the dimension
// "source", so that two sources of one vendor can be told apart.
type Health struct {
	Errors Selection
	Total  Selection
}

// Selection is the count of a metric's observations whose dimensions have one of the given values.
type Selection struct {
	Metric string
	Where  map[string][]string
}

// MetricsFor returns the vendor's standard metrics as definitions of a tenant, copied so that the caller may change
// them. ID and the times are the caller's to set.
func (v *Vendor) MetricsFor(t tenant.ID) []metric.Definition {
	own := slices.Clone(v.Metrics)
	for i := range own {
		own[i].Tenant, own[i].Vendor = t, v.Slug
		own[i].EventTypes = slices.Clone(own[i].EventTypes)
		own[i].Dimensions = maps.Clone(own[i].Dimensions)
	}
	return own
}

// Catalogue is the vendors that this build knows.
type Catalogue struct{ vendors []*Vendor }

// NewCatalogue builds the catalogue; a program needs one.
func NewCatalogue() *Catalogue {
	return &Catalogue{vendors: []*Vendor{github(), stripe()}}
}

// Lookup finds a vendor by its slug.
func (c *Catalogue) Lookup(slug string) (*Vendor, bool) {
	for _, v := range c.vendors {
		if v.Slug == slug {
			return v, true
		}
	}
	return nil, false
}

// All returns the vendors, by slug.
func (c *Catalogue) All() []*Vendor { return slices.Clone(c.vendors) }
