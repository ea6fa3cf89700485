package series

import (
	"time"

	"github.com/pulsestream/pulsestream/internal/tenant"
)

// Delta is what a batch of events adds to one second of one series.
type Delta struct {
	Tenant tenant.ID
	Metric int64 // generation id of the metric's definition
	Labels Labels
	Second int64 // Unix seconds
	Agg    Agg
	// Place is the series' own, for live charts to note where they have it; nil: there is no such place.
	Place *uint32
}

// Rollup is an aggregate of one series over one step of a resolution. Stored rollups are partial: all that
// have the same metric, labels and start merge into the whole.
type Rollup struct {
	Tenant tenant.ID
	Metric int64
	Labels Labels
	Step   time.Duration // one of Resolutions
	Start  time.Time     // aligned to Step
	Agg    Agg
}
