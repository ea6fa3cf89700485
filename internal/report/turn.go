package report

import "github.com/pulsestream/pulsestream/internal/tenant"

// turns remembers whose turn it was. A tenant has at most one report running, and comes again when the others who wait have had theirs, so
// that a hundred reports of one make another wait for one of them at most.
type turns struct {
	n       uint64
	last    map[tenant.ID]uint64
	running map[tenant.ID]bool
}

func newTurns() *turns {
	return &turns{last: map[tenant.ID]uint64{}, running: map[tenant.ID]bool{}}
}

// next picks of the waiting reports, given oldest first, the one to begin, or -1.
func (t *turns) next(waiting []*Report) int {
	best := -1
	for i, r := range waiting {
		if !t.running[r.Tenant] && (best < 0 || t.last[r.Tenant] < t.last[waiting[best].Tenant]) {
			best = i
		}
	}
	return best
}

func (t *turns) begin(id tenant.ID) {
	t.n++
	t.last[id], t.running[id] = t.n, true
}

func (t *turns) end(id tenant.ID) { delete(t.running, id) }

// forget drops the memory of tenants who wait for nothing, so that it does not grow with all that ever were.
func (t *turns) forget(waiting []*Report) {
	if len(waiting) == 0 && len(t.running) == 0 {
		clear(t.last)
	}
}
