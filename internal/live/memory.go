package live

import (
	"github.com/pulsestream/pulsestream/internal/series"
)

// memory is the last minutes of one metric, second by second.
type memory struct {
	seconds map[int64]map[string]*cell
	swept   int64
}

type cell struct {
	labels series.Labels
	agg    series.Agg
}

func (m *memory) add(d *series.Delta, key []byte, oldest int64) {
	if oldest > m.swept+10 {
		m.swept = oldest
		for s := range m.seconds {
			if s < oldest {
				delete(m.seconds, s)
			}
		}
	}
	cells := m.seconds[d.Second]
	if cells == nil {
		cells = make(map[string]*cell, 4)
		m.seconds[d.Second] = cells
	}
	c := cells[string(key)]
	if c == nil {
		c = &cell{labels: d.Labels}
		cells[string(key)] = c
	}
	c.agg.Merge(&d.Agg)
}
