package segment

import (
	"context"
	"math"

	"github.com/pulsestream/pulsestream/internal/event"
	"github.com/pulsestream/pulsestream/internal/store/column"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

// Find returns the event of a tenant with this source and id that was received first; false when there is none.
func (r *Reader) Find(ctx context.Context, s *Set, t tenant.ID, source, id string) (event.Stored, bool, error) {
	ev, found, _, err := r.find(ctx, s, t, source, id)
	return ev, found, err
}

// effort is what a look has cost: how many indexes were asked, and of how many blocks ids were decoded.
type effort struct{ indexes, blocks int }

// finding is one look on its way.
type finding struct {
	d          *column.Decoder
	tenant     tenant.ID
	source, id string
	hash       uint64
	ids        idLooker
	best       *found
	received   int64 // when best was
	effort     effort
}

func (r *Reader) find(ctx context.Context, s *Set, t tenant.ID, source, id string) (ev event.Stored, there bool, cost effort, err error) {
	f := &finding{d: r.decoder(), tenant: t, source: source, id: id, hash: hash(source, id)}
	defer r.decoders.Put(f.d)
	for _, seg := range s.Segments {
		if err := ctx.Err(); err != nil {
			return ev, false, f.effort, err
		}
		if err := f.segment(seg); err != nil {
			return ev, false, f.effort, err
		}
	}
	for i := range s.Views {
		f.view(&s.Views[i])
	}
	if f.best == nil {
		return ev, false, f.effort, nil
	}
	ev, err = f.best.event(f.d)
	return ev, err == nil, f.effort, err
}

// better takes a row that was received before the best so far.
func (f *finding) better(x found, received int64) {
	if f.best == nil || received < f.received || received == f.received && x.at.Before(f.best.at) {
		f.best, f.received = &x, received
	}
}

func (f *finding) segment(seg *Segment) error {
	e := seg.tenant(f.tenant)
	if e == nil || f.best != nil && e.minReceived() > f.received {
		return nil
	}
	f.effort.indexes++
	look := f.ids.look
	if seg.filters {
		look = f.ids.lookFilter
	}
	if err := look(seg, e, f.hash); err != nil {
		return err
	}
	for _, i := range f.ids.blocks {
		if err := f.block(&block{seg: seg, tenant: f.tenant, partition: e.partition, entry: &e.blocks[i]}); err != nil {
			return err
		}
	}
	return nil
}

func (f *finding) block(b *block) error {
	f.effort.blocks++
	if err := b.load(f.d, 1<<colID); err != nil {
		return err
	}
	for row := range b.len() {
		if string(b.texts[colID].At(row)) != f.id {
			continue
		}
		if err := b.load(f.d, colsPlace|1<<colSource|1<<colReceived); err != nil {
			return err
		}
		if string(b.texts[colSource].At(row)) == f.source {
			f.better(found{block: b, i: row, at: b.position(row)}, b.ints[colReceived][row])
		}
	}
	return nil
}

func (f *finding) view(v *View) {
	if f.best != nil && v.MinReceived > f.received {
		return
	}
	v.each(func(x *row) {
		if x.hash != f.hash || v.names[x.source] != f.source {
			return
		}
		if text, _, _, _ := v.texts(x); text == f.id {
			f.better(found{view: v, row: x, at: event.Position{Seq: x.seq, Index: x.index}}, x.received)
		}
	})
}

// minReceived is when the first of a tenant's events was received.
func (e *tenantEntry) minReceived() int64 {
	first := int64(math.MaxInt64)
	for i := range e.blocks {
		first = min(first, e.blocks[i].minReceived)
	}
	return first
}
