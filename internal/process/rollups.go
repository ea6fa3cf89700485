package process

import (
	"time"

	"github.com/pulsestream/pulsestream/internal/series"
)

// rollups merges one-second cells into minutes. What is longer is the store's to make of them.
type rollups struct {
	bound   *bound
	round   uint32
	minutes []minute // those of this round; the memory of former ones is behind them
	out     []series.Rollup
}

// minute is one minute of one series.
type minute struct {
	of    *known
	start int64 // Unix seconds
	older int32 // the series' minute before this one, or -1
	agg   series.Agg
}

func newRollups(b *bound) *rollups { return &rollups{bound: b, round: b.next()} }

// add takes cells in, which nobody reads any more: the first of a minute, mostly the only one, leaves it all that it has, and gets an empty one.
func (r *rollups) add(cells []cell) {
	for i := range cells {
		c := &cells[i]
		if m, first := r.minute(c.of, alignSeconds(c.second, 60)); first {
			m.agg, c.agg = c.agg, m.agg
		} else {
			m.agg.Merge(&c.agg)
		}
	}
}

func alignSeconds(second, width int64) int64 {
	rest := second % width
	if rest < 0 {
		rest += width
	}
	return second - rest
}

// minute finds the minute of a series, or makes it, which is empty.
func (r *rollups) minute(k *known, start int64) (m *minute, first bool) {
	older := int32(-1)
	if k.batch == r.round {
		older = k.minute
		for i, tries := older, 0; i >= 0 && tries < maxOlder; tries++ {
			m := &r.minutes[i]
			if m.start == start {
				return m, false
			}
			i = m.older
		}
	}
	k.batch, k.minute = r.round, int32(len(r.minutes)) //nolint:gosec // far fewer
	m = grow(&r.minutes)
	m.of, m.start, m.older = k, start, older
	return m, true
}

// empty says that there are none.
func (r *rollups) empty() bool { return len(r.minutes) == 0 }

// take returns the rollups so far. They must only be read, by one goroutine at a time, and only until begin.
func (r *rollups) take() []series.Rollup {
	r.reset()
	for i := range r.minutes {
		m := &r.minutes[i]
		u := grow(&r.out)
		u.Tenant, u.Metric, u.Labels = m.of.table.tenant, m.of.table.metric, m.of.labels
		u.Step, u.Start, u.Agg = time.Minute, time.Unix(m.start, 0).UTC(), m.agg
	}
	return r.out
}

// begin begins anew; what take has returned is void.
func (r *rollups) begin() {
	for i := range r.minutes {
		r.minutes[i].agg.Reset()
		r.minutes[i].of = nil
	}
	r.minutes = r.minutes[:0]
	r.reset()
	r.round = r.bound.next()
}

func (r *rollups) reset() {
	clear(r.out)
	r.out = r.out[:0]
}
