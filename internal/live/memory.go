package live

import (
	"time"

	"github.com/pulsestream/pulsestream/internal/event"
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

func (m *memory) add(d *series.Delta, oldest int64) {
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
	key := d.Labels.Key()
	c := cells[key]
	if c == nil {
		c = &cell{labels: d.Labels}
		cells[key] = c
	}
	c.agg.Merge(&d.Agg)
}

// Bounds of the tail of events.
const (
	tailLength = 50
	tailRate   = 50 // events a second that are rendered at most
)

// sampled is an event as its JSON.
type sampled struct {
	source, id string
	received   time.Time
	json       []byte
}

func newSampled(ev *event.Event) sampled {
	return sampled{source: ev.Source, id: ev.ID, received: ev.Received, json: event.AppendJSON(nil, ev)}
}

// sampler lets tailRate events a second through.
type sampler struct {
	second int64
	passed int
}

func (s *sampler) allow(now time.Time) bool {
	if sec := now.Unix(); sec != s.second {
		s.second, s.passed = sec, 0
	}
	s.passed++
	return s.passed <= tailRate
}

// sample offers an event to those who look at the tail.
func (r *room) sample(ev *event.Event, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.rate.allow(now) {
		for s := range r.subs {
			s.passedOver()
		}
		return
	}
	one := newSampled(ev)
	if len(r.tail) >= 2*tailLength {
		r.tail = append(r.tail[:0], r.tail[len(r.tail)-tailLength+1:]...)
	}
	r.tail = append(r.tail, one)
	for s := range r.subs {
		s.event(one)
	}
}
