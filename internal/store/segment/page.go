package segment

import (
	"cmp"
	"context"
	"math"
	"slices"
	"sync"

	"github.com/pulsestream/pulsestream/internal/event"
	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/store/column"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

// Set is the events of one moment: segments, and what one tenant has in tails, both in the order of the log.
type Set struct {
	Segments []*Segment
	Views    []View
}

// Reader reads Sets. Any number of goroutines may use one: it is there for the memory that it keeps.
type Reader struct{ decoders, rows, lanes, decoded sync.Pool }

func (r *Reader) decoder() *column.Decoder {
	if d, ok := r.decoders.Get().(*column.Decoder); ok {
		return d
	}
	return column.NewDecoder()
}

// found is a row that a page may show.
type found struct {
	time  int64
	at    event.Position
	block *block
	i     int
	view  *View
	row   *row
}

// newest orders what is newer first.
func newest(x, y found) int {
	return cmp.Or(cmp.Compare(y.time, x.time), cmp.Compare(y.at.Seq, x.at.Seq), cmp.Compare(y.at.Index, x.at.Index))
}

// page gathers the newest rows.
type page struct {
	match *match
	after *store.Cursor
	limit int
	rows  []found
	least int64 // a row that is older is not needed
}

// Page returns at most p.Limit events of a tenant, newest first. What it looks at are the tails and the blocks with the newest events, until no block
// can have any that is newer than those found.
func (r *Reader) Page(ctx context.Context, s *Set, t tenant.ID, q store.Page) ([]event.Stored, error) {
	d := r.decoder()
	defer r.decoders.Put(d)
	p := &page{match: newMatch(q.EventFilter), after: q.After, limit: q.Limit, least: math.MinInt64}
	if q.After != nil {
		p.match.last = min(p.match.last, q.After.Time.UnixNano())
	}
	for i := range slices.Backward(s.Views) {
		v := &s.Views[i]
		p.match.rowsIn(v, v.eachBack, func(x *row) {
			if x.time >= p.least {
				p.add(found{time: x.time, at: event.Position{Seq: x.seq, Index: x.index}, view: v, row: x})
			}
		})
	}
	blocks := s.blocks(t, p.match)
	slices.SortFunc(blocks, func(x, y *block) int { return cmp.Compare(y.entry.maxTime, x.entry.maxTime) })
	looked := 0
	defer func() { r.takeBack(blocks[:looked]...) }()
	for _, b := range blocks {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if b.entry.maxTime < p.least {
			break
		}
		r.lend(b)
		looked++
		if err := b.load(d, p.match.columns(b.entry)|colsPlace|1<<colTime); err != nil {
			return nil, err
		}
		p.block(b)
		p.trim()
	}
	p.sort()
	return p.events(d)
}

// blocks are those of a tenant that may have rows that match.
func (s *Set) blocks(t tenant.ID, m *match) []*block {
	var all []*block
	for _, seg := range s.Segments {
		e := seg.tenant(t)
		if e == nil {
			continue
		}
		for i := range e.blocks {
			b := &e.blocks[i]
			if m.block(b) {
				all = append(all, &block{seg: seg, tenant: t, partition: e.partition, entry: b})
			}
		}
	}
	return all
}

// block adds the newest rows of each type.
func (p *page) block(b *block) {
	times := b.ints[colTime]
	p.match.runs(b, func(from, to int) {
		for i, left := to-1, p.limit; i >= from && left > 0 && times[i] >= p.least; i-- {
			if p.match.attributes(b, i) && p.add(found{time: times[i], at: b.position(i), block: b, i: i}) {
				left--
			}
		}
	})
}

// add takes a row unless it does not lie behind the cursor.
func (p *page) add(f found) bool {
	if a := p.after; a != nil {
		if t := a.Time.UnixNano(); f.time > t || f.time == t && !f.at.Before(a.Position) {
			return false
		}
	}
	p.rows = append(p.rows, f)
	if len(p.rows) >= 2*p.limit+256 {
		p.trim()
	}
	return true
}

func (p *page) trim() {
	if len(p.rows) >= p.limit {
		p.sort()
		p.least = p.rows[len(p.rows)-1].time
	}
}

func (p *page) sort() {
	slices.SortFunc(p.rows, newest)
	if len(p.rows) > p.limit {
		clear(p.rows[p.limit:])
		p.rows = p.rows[:p.limit]
	}
}

// pageArena bounds the memory that events of a page share.
const pageArena = 64 << 10

// events makes the events of the rows found. They share nothing with the store, but memory with each other.
func (p *page) events(d *column.Decoder) ([]event.Stored, error) {
	events := make([]event.Stored, 0, len(p.rows))
	arena, text := []byte(nil), []byte{}
	for i := range p.rows {
		ev, err := p.rows[i].event(d, &text)
		if err != nil {
			return nil, err
		}
		if size := int(ev.Size()); cap(arena)-len(arena) < size {
			arena = make([]byte, 0, max(size, min(size*(len(p.rows)-i), pageArena)))
		}
		arena = ev.Keep(arena)
		events = append(events, ev)
	}
	return events, nil
}

// event makes the event of a row. It is only lent: it has views of the store's memory and of text, which is for the next one.
func (f *found) event(d *column.Decoder, text *[]byte) (ev event.Stored, err error) {
	if f.block == nil {
		return f.view.event(f.row), nil
	}
	if err := f.block.load(d, colsHead|1<<colExtensions); err != nil {
		return ev, err
	}
	ev = f.block.event(f.i)
	data, err := f.block.document(d, (*text)[:0], f.i)
	if err != nil {
		return ev, err
	}
	if ev.Data = data; data != nil {
		*text = data
	}
	return ev, nil
}
