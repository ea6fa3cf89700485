package segment

import (
	"cmp"
	"context"
	"math"
	"slices"
	"sync"

	"github.com/pulsestream/pulsestream/internal/contain"
	"github.com/pulsestream/pulsestream/internal/event"
	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/store/column"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

// rowBatches is how many batches there are: the caller has some, and now and then takes long over one; the next are decoded meanwhile.
const rowBatches = 4

// Rows gives all events of a tenant that match, segment by segment in the order of the log, and those of a segment block by block as they lie in it,
// sorted by type and time. The next block is decoded beside the callback, which runs in the caller's goroutine.
func (r *Reader) Rows(ctx context.Context, s *Set, t tenant.ID, f store.EventFilter, each store.EachRows) error {
	x, ok := r.rows.Get().(*rowScan)
	if !ok {
		x = newRowScan()
	}
	err := x.run(ctx, s, t, newMatch(f), each)
	r.rows.Put(x) // unless each has panicked
	return err
}

// rowScan reads whole blocks one after the other, always into the same memory.
type rowScan struct {
	d       *column.Decoder
	match   *match
	batches [rowBatches]rowBatch
	spans   []span
	units   []unit
	total   int // rows of all units
	gone    int // rows of those units that were read

	free, full chan *rowBatch
	lent       sync.WaitGroup // batches that the caller has
	err        error          // of the reading goroutine, for when it has closed full
}

// rowBatch is events with the block that their texts are in.
type rowBatch struct {
	block   block
	events  []event.Stored
	done    float64
	release func() // gives it back
}

// unit is what is read at a time: a block of a segment, or a tail.
type unit struct {
	min   uint64 // the first sequence of the log in the segment or the tail
	seg   *Segment
	of    *tenantEntry
	entry *blockEntry
	view  *View
}

// span is some rows of one type.
type span struct {
	from, to int
	kind     string
}

func newRowScan() *rowScan {
	x := &rowScan{d: column.NewDecoder()}
	for i := range x.batches {
		b := &x.batches[i]
		b.release = func() {
			x.free <- b
			x.lent.Done()
		}
	}
	return x
}

func (x *rowScan) run(ctx context.Context, s *Set, t tenant.ID, m *match, each store.EachRows) error {
	ctx, cancel := context.WithCancel(ctx)
	x.match, x.err = m, nil
	x.plan(s, t)
	x.free, x.full = make(chan *rowBatch, rowBatches), make(chan *rowBatch, rowBatches)
	for i := range x.batches {
		x.free <- &x.batches[i]
	}
	go x.read(ctx)
	end := func() { // of the reading goroutine
		cancel()
		for range x.full {
		}
	}
	defer end() // also when each panics
	var err error
	for b := range x.full {
		x.lent.Add(1)
		if err = each(b.events, b.done, b.release); err != nil {
			break
		}
	}
	end()
	x.lent.Wait()
	x.forget()
	return cmp.Or(err, x.err)
}

// forget lets go of what was read, but not of the memory.
func (x *rowScan) forget() {
	clear(x.units)
	clear(x.spans[:cap(x.spans)])
	x.match = nil
	for i := range x.batches {
		b := &x.batches[i]
		clear(b.events[:cap(b.events)])
		b.block.seg, b.block.entry = nil, nil
	}
}

// plan finds what there is to read.
func (x *rowScan) plan(s *Set, t tenant.ID) {
	x.units, x.total, x.gone = x.units[:0], 0, 0
	for _, seg := range s.Segments {
		of := seg.tenant(t)
		if of == nil {
			continue
		}
		first, least := len(x.units), uint64(math.MaxUint64)
		for i := range of.blocks {
			if e := &of.blocks[i]; x.match.block(e) {
				x.units = append(x.units, unit{seg: seg, of: of, entry: e})
				x.total += e.rows
				least = min(least, e.minSeq)
			}
		}
		for i := range x.units[first:] {
			x.units[first+i].min = least
		}
	}
	for i := range s.Views {
		v := &s.Views[i]
		x.units = append(x.units, unit{min: v.MinSeq, view: v})
		x.total += v.N
	}
	slices.SortStableFunc(x.units, func(a, b unit) int { return cmp.Compare(a.min, b.min) })
}

// read goes through all units, in a goroutine of its own.
func (x *rowScan) read(ctx context.Context) {
	defer close(x.full)
	defer contain.Panic(&x.err)
	for i := range x.units {
		u := &x.units[i]
		if u.view != nil {
			x.err = x.tail(ctx, u.view)
		} else {
			x.err = x.block(ctx, u)
		}
		if x.err != nil {
			return
		}
	}
}

// take waits for a batch that nobody reads any more.
func (x *rowScan) take(ctx context.Context) (*rowBatch, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	select {
	case b := <-x.free:
		b.events = b.events[:0]
		return b, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// give passes a batch on; rows is how many were looked at for it. There is room for all batches in either channel.
func (x *rowScan) give(b *rowBatch, rows int) {
	x.gone += rows
	b.done = float64(x.gone) / float64(max(1, x.total))
	if len(b.events) == 0 {
		x.free <- b
		return
	}
	x.full <- b
}

func (x *rowScan) block(ctx context.Context, u *unit) error {
	b, err := x.take(ctx)
	if err != nil {
		return err
	}
	b.block.again(u)
	if err := x.fill(b); err != nil {
		return err
	}
	x.give(b, u.entry.rows)
	return nil
}

// fill decodes what matches of a block.
func (x *rowScan) fill(to *rowBatch) error {
	b := &to.block
	if err := b.load(x.d, x.match.columns(b.entry)); err != nil {
		return err
	}
	x.choose(b)
	if len(x.spans) == 0 {
		return nil
	}
	if err := b.load(x.d, colsAll); err != nil {
		return err
	}
	if err := b.documents(x.d, x.spans[0].from, x.spans[len(x.spans)-1].to); err != nil {
		return err
	}
	for _, s := range x.spans {
		n := len(to.events)
		to.events = slices.Grow(to.events, s.to-s.from)[:n+s.to-s.from]
		for i := s.from; i < s.to; i++ {
			b.put(&to.events[n+i-s.from], i, s.kind)
		}
	}
	return nil
}

// choose finds the rows of a block that match.
func (x *rowScan) choose(b *block) {
	x.spans = x.spans[:0]
	some := x.match.ID != "" || x.match.Source != "" || x.match.Subject != ""
	x.match.runs(b, func(from, to int) {
		kind := b.kind(from)
		if !some {
			x.spans = append(x.spans, span{from, to, kind})
			return
		}
		for i := from; i < to; i++ {
			if !x.match.attributes(b, i) {
				continue
			}
			if n := len(x.spans); n > 0 && x.spans[n-1].to == i && i > from {
				x.spans[n-1].to++
			} else {
				x.spans = append(x.spans, span{i, i + 1, kind})
			}
		}
	})
}

// tail gives the rows of a tail as they are.
func (x *rowScan) tail(ctx context.Context, v *View) error {
	b, err := x.take(ctx)
	if err != nil {
		return err
	}
	given := 0
	x.match.rows(v, func(r *row) {
		if err != nil {
			return
		}
		if b.events = append(b.events, v.event(r)); len(b.events) < tailBlock {
			return
		}
		given += len(b.events)
		x.give(b, len(b.events))
		b, err = x.take(ctx)
	})
	if err == nil {
		x.give(b, v.N-given)
	}
	return err
}
