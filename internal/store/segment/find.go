package segment

import (
	"context"
	"fmt"
	"math"

	"github.com/pulsestream/pulsestream/internal/event"
	"github.com/pulsestream/pulsestream/internal/store/pieces"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

// Find returns the event of a tenant with this source and id that was received first; false when there is none.
func (r *Reader) Find(ctx context.Context, s *Set, t tenant.ID, source, id string) (event.Stored, bool, error) {
	d := r.decoder()
	defer r.decoders.Put(d)
	h := hash(source, id)
	var best *found
	var first int64
	better := func(f found, received int64) {
		if best == nil || received < first || received == first && f.at.Before(best.at) {
			best, first = &f, received
		}
	}
	for _, seg := range s.Segments {
		if err := ctx.Err(); err != nil {
			return event.Stored{}, false, err
		}
		e := seg.tenant(t)
		if e == nil || best != nil && e.minReceived() > first {
			continue
		}
		may, err := seg.mayHave(e, h)
		if err != nil {
			return event.Stored{}, false, err
		}
		if !may {
			continue
		}
		for i := range e.blocks {
			b := &block{seg: seg, tenant: t, partition: e.partition, entry: &e.blocks[i]}
			if err := b.load(d, 1<<colID); err != nil {
				return event.Stored{}, false, err
			}
			for row := range b.len() {
				if string(b.texts[colID].At(row)) != id {
					continue
				}
				if err := b.load(d, colsHead); err != nil {
					return event.Stored{}, false, err
				}
				if string(b.texts[colSource].At(row)) == source {
					better(found{block: b, i: row, at: b.position(row)}, b.ints[colReceived][row])
				}
			}
		}
	}
	for i := range s.Views {
		v := &s.Views[i]
		if best != nil && v.MinReceived > first {
			continue
		}
		v.each(func(x *row) {
			if x.hash != h || v.names[x.source] != source {
				return
			}
			if text, _, _, _ := v.texts(x); text == id {
				better(found{view: v, row: x, at: event.Position{Seq: x.seq, Index: x.index}}, x.received)
			}
		})
	}
	if best == nil {
		return event.Stored{}, false, nil
	}
	ev, err := best.event(d)
	return ev, err == nil, err
}

// minReceived is when the first of a tenant's events was received.
func (e *tenantEntry) minReceived() int64 {
	first := int64(math.MaxInt64)
	for i := range e.blocks {
		first = min(first, e.blocks[i].minReceived)
	}
	return first
}

// mayHave looks into a tenant's filter, of which it reads a line. The whole of it is checked when it is used for the first time.
func (s *Segment) mayHave(e *tenantEntry, h uint64) (bool, error) {
	if !e.checked.Load() {
		if e.filter.Len == 0 || e.filter.Len%lineBytes != 0 {
			return false, fmt.Errorf("%s: %w: a filter has %d bytes", s.Path(), pieces.ErrDamaged, e.filter.Len)
		}
		if err := s.Check(e.filter); err != nil {
			return false, err
		}
		e.checked.Store(true)
	}
	l, err := s.Read(pieces.Place{Off: e.filter.Off + int64(line(h, int(e.filter.Len))), Len: lineBytes}, false)
	return err == nil && mayHave(l, h), err
}
