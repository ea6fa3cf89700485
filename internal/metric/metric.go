// Package metric says which events a metric is about, what its value is and by which dimensions it may be split, and
// turns events into observations.
package metric

import (
	"slices"
	"time"

	"github.com/pulsestream/pulsestream/internal/tenant"
)

// Definition is a metric as it is configured.
type Definition struct {
	// ID is the generation of the definition, unique in an installation: rollups are kept by it, so a definition that
	// is changed in what it computes gets a new ID and is filled anew.
	ID     int64     `json:"id"`
	Tenant tenant.ID `json:"tenant"`
	Slug   string    `json:"slug"`
	Name   string    `json:"name,omitempty"`
	// Description is for people.
	Description string `json:"description,omitempty"`
	Unit        string `json:"unit,omitempty"`
	// EventTypes are the types the metric is about; one may end in *. None means every type.
	EventTypes []string `json:"event_types,omitempty"`
	// Filter is a CEL condition, Value a CEL number (or a string, for unique), Dimensions CEL by name.
	Filter     string            `json:"filter,omitempty"`
	Value      string            `json:"value,omitempty"`
	Dimensions map[string]string `json:"dimensions,omitempty"`
	// Vendor names the vendor whose standard metric this is; Builtin is true only for "events".
	Vendor    string    `json:"vendor,omitempty"`
	Builtin   bool      `json:"builtin,omitempty"`
	CreatedAt time.Time `json:"created_at"`
	UpdatedAt time.Time `json:"updated_at"`
}

// EventsSlug is the metric every tenant has: the count of events by source and type.
const EventsSlug = "events"

// EventsID is the generation of the built-in events metric, the same for every tenant.
const EventsID int64 = 1

// Events is the definition of the built-in metric.
func Events(t tenant.ID) Definition {
	return Definition{
		ID: EventsID, Tenant: t, Slug: EventsSlug, Name: "Events", Unit: "events", Builtin: true,
		Description: "Every event, by its source and type.",
		Dimensions:  map[string]string{"source": "source", "type": "type"},
	}
}

// DimensionNames are the names of the dimensions in the order of a series' labels.
func (d *Definition) DimensionNames() []string {
	names := make([]string, 0, len(d.Dimensions))
	for n := range d.Dimensions {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}

// SameComputation says whether two definitions give the same observations, so that rollups can be kept.
func (d *Definition) SameComputation(o *Definition) bool {
	if d.Filter != o.Filter || d.Value != o.Value || !slices.Equal(d.EventTypes, o.EventTypes) || len(d.Dimensions) != len(o.Dimensions) {
		return false
	}
	for n, e := range d.Dimensions {
		if f, ok := o.Dimensions[n]; !ok || e != f {
			return false
		}
	}
	return true
}
