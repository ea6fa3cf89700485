package segment

import (
	"context"
	"math"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/pulsestream/pulsestream/internal/contain"
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
	reader     *Reader
	d          *column.Decoder
	tenant     tenant.ID
	source, id string
	hash       uint64
	ids        idLooker
	best       *found
	received   int64         // when best was
	earliest   *atomic.Int64 // when what anybody has found was received
	looked     []*block      // which have memory of the reader's
	effort     effort
	err        error
}

// shareSegments is how many segments are worth a goroutine of their own.
const shareSegments = 64

func (r *Reader) find(ctx context.Context, s *Set, t tenant.ID, source, id string) (ev event.Stored, there bool, cost effort, err error) {
	// The segments are dealt out: each costs a read, nearly always for nothing, and there are hundreds of them.
	n := min(runtime.GOMAXPROCS(0), 1+len(s.Segments)/shareSegments)
	var earliest atomic.Int64
	earliest.Store(math.MaxInt64)
	parts := make([]*finding, n)
	for i := range parts {
		parts[i] = &finding{reader: r, d: r.decoder(), tenant: t, source: source, id: id, hash: hash(source, id), earliest: &earliest}
	}
	defer func() {
		for _, f := range parts {
			r.decoders.Put(f.d)
			r.takeBack(f.looked...)
		}
	}()
	first := parts[0]
	var others sync.WaitGroup
	for i := 1; i < n; i++ {
		others.Go(func() { parts[i].segments(ctx, s.Segments, i, n) })
	}
	first.segments(ctx, s.Segments, 0, n)
	others.Wait()
	for i := range s.Views {
		first.view(&s.Views[i])
	}
	best := first
	for _, f := range parts {
		cost.indexes, cost.blocks = cost.indexes+f.effort.indexes, cost.blocks+f.effort.blocks
		if f.err != nil {
			return ev, false, cost, f.err
		}
		if f.best != nil && best.better(*f.best, f.received) {
			best = f
		}
	}
	if best.best == nil {
		return ev, false, cost, nil
	}
	text := []byte{}
	if ev, err = best.best.event(best.d, &text); err != nil {
		return ev, false, cost, err
	}
	ev.Keep(make([]byte, 0, ev.Size()))
	return ev, true, cost, nil
}

// segments looks through every step-th segment. What was received later than what anybody has found need not be looked at.
func (f *finding) segments(ctx context.Context, all []*Segment, from, step int) {
	defer contain.Panic(&f.err)
	for i := from; i < len(all) && f.err == nil; i += step {
		if f.err = ctx.Err(); f.err == nil {
			f.err = f.segment(all[i])
		}
	}
}

// better says whether a row was received before the best so far.
func (f *finding) better(x found, received int64) bool {
	return f.best == nil || received < f.received || received == f.received && x.at.Before(f.best.at)
}

func (f *finding) take(x found, received int64) {
	if !f.better(x, received) {
		return
	}
	f.best, f.received = &x, received
	for known := f.earliest.Load(); received < known && !f.earliest.CompareAndSwap(known, received); {
		known = f.earliest.Load()
	}
}

func (f *finding) segment(seg *Segment) error {
	e := seg.tenant(f.tenant)
	if e == nil || e.minReceived() > f.earliest.Load() {
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
	f.reader.lend(b)
	f.looked = append(f.looked, b)
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
			f.take(found{block: b, i: row, at: b.position(row)}, b.ints[colReceived][row])
		}
	}
	return nil
}

func (f *finding) view(v *View) {
	if v.MinReceived > f.earliest.Load() {
		return
	}
	v.each(func(x *row) {
		if x.hash != f.hash || v.names[x.source] != f.source {
			return
		}
		if text, _, _, _ := v.texts(x); text == f.id {
			f.take(found{view: v, row: x, at: event.Position{Seq: x.seq, Index: x.index}}, x.received)
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
