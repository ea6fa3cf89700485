package segment

import (
	"cmp"
	"context"
	"errors"
	"math"
	"slices"
	"time"

	"github.com/pulsestream/pulsestream/internal/event"
	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/store/column"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

// errEnough ends a scan that needs no more rows.
var errEnough = errors.New("enough")

// scanning is one scan on its way.
type scanning struct {
	ctx    context.Context //nolint:containedctx // a scan is one call
	reader *Reader
	d      *column.Decoder
	match  *match
	after  event.Position
	upto   event.Position
	limit  int
	cols   uint16
	given  int
	event  event.Stored // in hand
	text   []byte       // of it
	refs   []ref        // of the pieces in hand
	each   func(*event.Stored) error
}

// Scan calls each with every event of a tenant that matches, in log order. An event is only good during the call.
func (r *Reader) Scan(ctx context.Context, s *Set, t tenant.ID, q store.Scan, each func(*event.Stored) error) error {
	d := r.decoder()
	defer r.decoders.Put(d)
	sc := &scanning{ctx: ctx, reader: r, d: d, text: []byte{}, match: newMatch(q.EventFilter), after: q.After, upto: event.Position{Seq: math.MaxUint64, Index: math.MaxUint32},
		limit: q.Limit, cols: colsAll, each: each}
	if q.Upto != nil {
		sc.upto = *q.Upto
	}
	if q.WithoutData {
		sc.cols = colsHead
	}
	err := sc.scan(s, t)
	if err == errEnough { //nolint:errorlint // the very value, so that a callback's error never passes for it
		return nil
	}
	return err
}

// piece is what a segment or a tail has for a scan.
type piece struct {
	blocks   []*block
	view     *View
	min, max uint64 // sequences of the log
}

// pieces are those of a set that may have rows for the scan, by their first sequence.
func (sc *scanning) pieces(s *Set, t tenant.ID) []piece {
	var all []piece
	for _, seg := range s.Segments {
		p := piece{min: math.MaxUint64}
		one := Set{Segments: []*Segment{seg}}
		for _, b := range one.blocks(t, sc.match) {
			if b.entry.maxSeq >= sc.after.Seq && b.entry.minSeq <= sc.upto.Seq {
				p.blocks = append(p.blocks, b)
				p.min, p.max = min(p.min, b.entry.minSeq), max(p.max, b.entry.maxSeq)
			}
		}
		if len(p.blocks) > 0 {
			all = append(all, p)
		}
	}
	for i := range s.Views {
		if v := &s.Views[i]; v.N > 0 && v.MaxSeq >= sc.after.Seq && v.MinSeq <= sc.upto.Seq {
			all = append(all, piece{view: v, min: v.MinSeq, max: v.MaxSeq})
		}
	}
	slices.SortStableFunc(all, func(x, y piece) int { return cmp.Compare(x.min, y.min) })
	return all
}

// scan goes through the pieces one by one. Where the log began anew, with sequences that had been there before, those that overlap are gone through
// together.
func (sc *scanning) scan(s *Set, t tenant.ID) error {
	for all := sc.pieces(s, t); len(all) > 0; {
		n, last := 1, all[0].max
		for n < len(all) && all[n].min <= last {
			last = max(last, all[n].max)
			n++
		}
		var err error
		if v := all[0].view; n == 1 && v != nil && !v.mixed {
			err = sc.view(v)
		} else {
			err = sc.together(all[:n])
		}
		if err != nil {
			return err
		}
		all = all[n:]
	}
	return nil
}

// behind says whether a row lies behind where the scan begins and not behind where it ends.
func (sc *scanning) behind(p event.Position) bool { return sc.after.Before(p) && !sc.upto.Before(p) }

// give hands on the event in hand.
func (sc *scanning) give() error {
	if sc.given&1023 == 0 {
		if err := sc.ctx.Err(); err != nil {
			return err
		}
	}
	sc.given++
	if err := sc.each(&sc.event); err != nil {
		return err
	}
	if sc.limit > 0 && sc.given >= sc.limit {
		return errEnough
	}
	return nil
}

// view gives the rows of a tail that are in order already.
func (sc *scanning) view(v *View) error {
	var err error
	sc.match.rows(v, func(x *row) {
		if err == nil && sc.behind(x.position()) {
			err = sc.row(v, x)
		}
	})
	return err
}

func (sc *scanning) row(v *View, x *row) error {
	sc.event = v.event(x)
	if sc.cols != colsAll {
		sc.event.Data, sc.event.Extensions = nil, nil
	}
	return sc.give()
}

// ref is a row that matches.
type ref struct {
	seq   uint64
	index uint32
	block int32 // of a block's row; -1 for one of a tail
	row   int32
	view  int32
}

// compare is by the place in the log. Only where the log began anew there are two at one.
func (x ref) compare(y ref) int {
	if x.seq != y.seq {
		return cmp.Compare(x.seq, y.seq)
	}
	if x.index != y.index {
		return cmp.Compare(x.index, y.index)
	}
	return cmp.Or(cmp.Compare(x.view, y.view), cmp.Compare(x.block, y.block), cmp.Compare(x.row, y.row))
}

// gathered are rows on their way into the log's order.
type gathered struct {
	refs   []ref
	blocks []*block
	left   []int // rows of each block that are still to be given
	views  []*View
	rows   []*row // of tails
}

// together gives the rows of some pieces. Those of a segment are sorted by type, and have to be put into the log's order; a block is let go of when its
// last row was given.
func (sc *scanning) together(pieces []piece) error {
	g := gathered{refs: slices.Grow(sc.refs[:0], sc.most(pieces))}
	defer func() {
		sc.refs = g.refs
		for i := range g.blocks {
			g.letGo(sc, i)
		}
	}()
	for _, p := range pieces {
		if p.view != nil {
			g.addView(sc, p.view)
			continue
		}
		for _, b := range p.blocks {
			if err := g.addBlock(sc, b); err != nil {
				return err
			}
		}
	}
	slices.SortFunc(g.refs, ref.compare)
	for _, r := range g.refs {
		var err error
		if r.block < 0 {
			err = sc.row(g.views[r.view], g.rows[r.row])
		} else {
			err = sc.blockRow(&g, r)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// most is how many rows of blocks may match.
func (sc *scanning) most(pieces []piece) (n int) {
	for _, p := range pieces {
		for _, b := range p.blocks {
			sc.match.runs(b, func(from, to int) { n += to - from })
		}
	}
	return n
}

func (g *gathered) addView(sc *scanning, v *View) {
	n := int32(len(g.views)) //nolint:gosec // an index
	g.views = append(g.views, v)
	sc.match.rows(v, func(x *row) {
		if sc.behind(x.position()) {
			g.refs = append(g.refs, ref{x.seq, x.index, -1, int32(len(g.rows)), n}) //nolint:gosec // indexes
			g.rows = append(g.rows, x)
		}
	})
}

func (g *gathered) addBlock(sc *scanning, b *block) error {
	if err := sc.ctx.Err(); err != nil {
		return err
	}
	n, before := int32(len(g.blocks)), len(g.refs) //nolint:gosec // an index
	sc.reader.lend(b)
	g.blocks, g.left = append(g.blocks, b), append(g.left, 0)
	if err := b.load(sc.d, sc.match.columns(b.entry)|colsPlace); err != nil {
		return err
	}
	sc.match.runs(b, func(from, to int) {
		for i := from; i < to; i++ {
			if p := b.position(i); sc.behind(p) && sc.match.attributes(b, i) {
				g.refs = append(g.refs, ref{p.Seq, p.Index, n, int32(i), -1}) //nolint:gosec // an index
			}
		}
	})
	if g.left[n] = len(g.refs) - before; g.left[n] == 0 {
		g.letGo(sc, int(n))
	}
	return nil
}

// letGo gives the memory of a block back, if that was not done before.
func (g *gathered) letGo(sc *scanning, i int) {
	if b := g.blocks[i]; b != nil {
		sc.reader.takeBack(b)
		g.blocks[i] = nil
	}
}

// blockRow gives a row of a block. Documents are put together one by one: those of other types are in the way of nobody.
func (sc *scanning) blockRow(g *gathered, r ref) error {
	b, row := g.blocks[r.block], int(r.row)
	if err := b.load(sc.d, sc.cols); err != nil {
		return err
	}
	sc.event = b.event(row)
	if sc.cols == colsAll {
		data, err := b.document(sc.d, sc.text[:0], row)
		if err != nil {
			return err
		}
		if sc.event.Data = data; data != nil {
			sc.text = data
		}
	}
	if err := sc.give(); err != nil {
		return err
	}
	if g.left[r.block]--; g.left[r.block] == 0 {
		g.letGo(sc, int(r.block))
	}
	return nil
}

// Identities gives every identified event of a partition that was received at or after since, segment by segment.
func (r *Reader) Identities(ctx context.Context, s *Set, partition int, since time.Time, each func(store.Identity) error) error {
	d := r.decoder()
	defer r.decoders.Put(d)
	var b block
	r.lend(&b)
	defer r.takeBack(&b)
	least := int64(math.MinInt64)
	if !since.IsZero() {
		least = since.UnixNano()
	}
	for _, seg := range s.Segments {
		for _, t := range seg.all {
			if t.partition != partition {
				continue
			}
			for i := range t.blocks {
				if t.blocks[i].maxReceived < least {
					continue
				}
				b.again(&unit{seg: seg, of: t, entry: &t.blocks[i]})
				if err := errors.Join(ctx.Err(), b.identities(d, least, each)); err != nil {
					return unjoined(ctx, err)
				}
			}
		}
	}
	for i := range s.Views {
		v := &s.Views[i]
		var err error
		v.each(func(x *row) {
			if err == nil && x.received >= least && x.flags&flagIdentified != 0 {
				id, _, _, _ := v.texts(x)
				err = each(identity(v.Tenant, v.names[x.source], id, x.received))
			}
		})
		if err != nil {
			return err
		}
	}
	return ctx.Err()
}

// unjoined is the callback's own error again.
func unjoined(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if all, ok := err.(interface{ Unwrap() []error }); ok {
		return all.Unwrap()[0]
	}
	return err
}

func (b *block) identities(d *column.Decoder, least int64, each func(store.Identity) error) error {
	if err := b.load(d, 1<<colID|1<<colSource|1<<colReceived|1<<colFlags); err != nil {
		return err
	}
	for i, received := range b.ints[colReceived] {
		if received < least || b.ints[colFlags][i]&flagIdentified == 0 {
			continue
		}
		if err := each(identity(b.tenant, view(b.texts[colSource].At(i)), view(b.texts[colID].At(i)), received)); err != nil {
			return err
		}
	}
	return nil
}

func identity(t tenant.ID, source, id string, received int64) store.Identity {
	return store.Identity{Tenant: t, Source: source, ID: id, Received: time.Unix(0, received).UTC()}
}

// All calls each with every event of a segment, in no order that means anything. An event is only good during the call.
func (r *Reader) All(ctx context.Context, seg *Segment, each func(*event.Stored)) error {
	d := r.decoder()
	defer r.decoders.Put(d)
	var b block
	r.lend(&b)
	defer r.takeBack(&b)
	for _, t := range seg.all {
		for i := range t.blocks {
			if err := ctx.Err(); err != nil {
				return err
			}
			b.again(&unit{seg: seg, of: t, entry: &t.blocks[i]})
			if err := b.load(d, colsAll); err != nil {
				return err
			}
			if err := b.documents(d, 0, b.len()); err != nil {
				return err
			}
			for row := range b.len() {
				ev := b.event(row)
				each(&ev)
			}
		}
	}
	return nil
}
