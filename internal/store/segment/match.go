package segment

import (
	"math"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/pulsestream/pulsestream/internal/store"
)

// match decides which rows a filter asks for.
type match struct {
	store.EventFilter
	from, last int64 // times of events, both inclusive
	hash       uint64
}

func newMatch(f store.EventFilter) *match {
	m := &match{EventFilter: f, from: math.MinInt64, last: math.MaxInt64}
	if !f.From.IsZero() {
		m.after(f.From)
	}
	if !f.To.IsZero() {
		m.before(f.To)
	}
	if f.ID != "" && f.Source != "" {
		m.hash = hash(f.Source, f.ID)
	}
	return m
}

// after and before restrict times. What is asked for may lie where there are no nanoseconds any more.
func (m *match) after(from time.Time) {
	switch {
	case from.After(time.Unix(0, math.MaxInt64)):
		m.from, m.last = math.MaxInt64, math.MinInt64
	case from.After(time.Unix(0, math.MinInt64)):
		m.from = from.UnixNano()
	}
}

func (m *match) before(to time.Time) {
	switch {
	case !to.After(time.Unix(0, math.MinInt64)):
		m.from, m.last = math.MaxInt64, math.MinInt64
	case !to.After(time.Unix(0, math.MaxInt64)):
		m.last = min(m.last, to.UnixNano()-1)
	}
}

// kind says whether events of a type match.
func (m *match) kind(name string) bool {
	if len(m.Types) == 0 {
		return true
	}
	for _, t := range m.Types {
		if prefix, open := strings.CutSuffix(t, "*"); t == name || open && strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}

// overlaps says whether times from first to last, both inclusive, may match; covers, whether all of them do.
func (m *match) overlaps(first, last int64) bool { return last >= m.from && first <= m.last }
func (m *match) covers(first, last int64) bool   { return first >= m.from && last <= m.last }
func (m *match) time(t int64) bool               { return m.covers(t, t) }

// block says whether a block may have rows that match.
func (m *match) block(e *blockEntry) bool {
	return m.overlaps(e.minTime, e.maxTime) && slices.ContainsFunc(e.kinds, func(k kindRun) bool { return m.kind(k.kind) })
}

// columns are those of a block that rows needs.
func (m *match) columns(e *blockEntry) (want uint16) {
	if !m.covers(e.minTime, e.maxTime) {
		want |= 1 << colTime
	}
	if m.Source != "" {
		want |= 1 << colSource
	}
	if m.Subject != "" {
		want |= 1 << colSubject
	}
	if m.ID != "" {
		want |= 1 << colID
	}
	return want
}

// attributes says whether a row's attributes match, but for its type and time.
func (m *match) attributes(b *block, i int) bool {
	return (m.ID == "" || string(b.texts[colID].At(i)) == m.ID) && (m.Source == "" || string(b.texts[colSource].At(i)) == m.Source) &&
		(m.Subject == "" || string(b.texts[colSubject].At(i)) == m.Subject)
}

// runs calls f with each stretch of rows whose type and time match; what columns asks for must be loaded.
func (m *match) runs(b *block, f func(from, to int)) {
	at := 0
	for _, k := range b.entry.kinds {
		from, to := at, k.end
		at = k.end
		if !m.kind(k.kind) {
			continue
		}
		if b.loaded&(1<<colTime) != 0 {
			times := b.ints[colTime][from:to]
			to = from + sort.Search(len(times), func(i int) bool { return times[i] > m.last })
			from += sort.Search(len(times), func(i int) bool { return times[i] >= m.from })
		}
		if from < to {
			f(from, to)
		}
	}
}

// rows calls f with every row of a tail that matches.
func (m *match) rows(v *View, f func(*row)) { m.rowsIn(v, v.each, f) }

// rowsIn is rows in the order in which each goes through them.
func (m *match) rowsIn(v *View, each func(func(*row)), f func(*row)) {
	if !m.overlaps(v.MinTime, v.MaxTime) {
		return
	}
	kinds := make([]bool, len(v.names))
	source := uint32(math.MaxUint32)
	for i, name := range v.names {
		kinds[i] = m.kind(name)
		if name == m.Source {
			source = uint32(i)
		}
	}
	if m.Source != "" && source == math.MaxUint32 {
		return
	}
	each(func(r *row) {
		if !kinds[r.kind] || !m.time(r.time) || m.Source != "" && r.source != source || m.hash != 0 && r.hash != m.hash {
			return
		}
		if m.ID != "" || m.Subject != "" {
			id, subject, _, _ := v.texts(r)
			if m.ID != "" && id != m.ID || m.Subject != "" && subject != m.Subject {
				return
			}
		}
		f(r)
	})
}
