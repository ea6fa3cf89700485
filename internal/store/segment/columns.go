package segment

import (
	"context"
	"runtime"
	"slices"
	"sync"

	"github.com/pulsestream/pulsestream/internal/contain"
	"github.com/pulsestream/pulsestream/internal/event"
	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/store/column"
	"github.com/pulsestream/pulsestream/internal/store/shred"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

// tailBlock is how many events of a tail are given at a time.
const tailBlock = 1024

// ScanColumns gives all events of a tenant that match: those of segments by column, those of tails as they are. Blocks are decoded beside the
// callback, which runs in the caller's goroutine, and given in the order in which they lie.
func (r *Reader) ScanColumns(ctx context.Context, s *Set, t tenant.ID, q store.ColumnScan, each func(*store.ColumnBlock) error) error {
	sc := &columnScan{reader: r, q: &q, match: newMatch(store.EventFilter{Types: q.Types, From: q.From, To: q.To}), each: each, columns: make([]store.Column, len(q.Fields))}
	if err := sc.segments(ctx, s.blocks(t, sc.match)); err != nil {
		return err
	}
	for i := range s.Views {
		if err := sc.view(ctx, &s.Views[i]); err != nil {
			return err
		}
	}
	return nil
}

type columnScan struct {
	reader  *Reader
	q       *store.ColumnScan
	match   *match
	each    func(*store.ColumnBlock) error
	columns []store.Column // of the stretch in hand
	events  []event.Stored
}

const (
	// maxLanes is how many blocks of a question are decoded at the same time: more would wait for the callback.
	maxLanes = 4
	// laneLots is how many blocks a lane has: one is with the callback while the next is decoded.
	laneLots = 2
)

// lane decodes every so many blocks, one after the other into the same memory.
type lane struct {
	d          *column.Decoder
	lots       [laneLots]columnLot
	free, full chan *columnLot
	err        error // for when full is closed
}

// columnLot is a block with what was asked for of it.
type columnLot struct {
	block  *block
	runs   []span
	fields []field // of the rows from the first run's first to the last one's last
}

// field is what a block has of a field that was asked for, with memory for the next block.
type field struct {
	column   store.Column
	values   shred.Values
	dict     [][]byte
	text     []byte // of dict
	numbers  []float64
	identity []uint32
}

func (r *Reader) lane(fields int) *lane {
	l, ok := r.lanes.Get().(*lane)
	if !ok {
		l = &lane{d: column.NewDecoder()}
	}
	l.err = nil
	l.free, l.full = make(chan *columnLot, laneLots), make(chan *columnLot, laneLots)
	for i := range l.lots {
		lot := &l.lots[i]
		lot.fields = slices.Grow(lot.fields[:0], fields)[:fields]
		l.free <- lot
	}
	return l
}

// giveBack keeps a lane's memory, and lets go of what was read.
func (r *Reader) giveBack(l *lane) {
	for i := range l.lots {
		lot := &l.lots[i]
		lot.block = nil
		clear(lot.runs[:cap(lot.runs)])
		for k := range lot.fields {
			f := &lot.fields[k]
			f.column = store.Column{}
			clear(f.dict[:cap(f.dict)])
		}
	}
	r.lanes.Put(l)
}

func (sc *columnScan) segments(ctx context.Context, blocks []*block) error {
	lanes := make([]*lane, min(runtime.GOMAXPROCS(0), maxLanes, len(blocks)))
	var decoding sync.WaitGroup
	ctx, cancel := context.WithCancel(ctx)
	defer func() {
		cancel()
		decoding.Wait() // the blocks are good as long as the caller is here
		for _, l := range lanes {
			sc.reader.giveBack(l)
		}
	}()
	for i := range lanes {
		l := sc.reader.lane(len(sc.q.Fields))
		lanes[i] = l
		decoding.Go(func() {
			defer close(l.full)
			defer contain.Panic(&l.err)
			l.err = sc.decode(ctx, l, blocks, i, len(lanes))
		})
	}
	for i, b := range blocks {
		l := lanes[i%len(lanes)]
		lot, ok := <-l.full
		if !ok {
			return l.err
		}
		err := ctx.Err()
		if err == nil {
			err = sc.give(lot)
		}
		sc.reader.takeBack(b)
		if err != nil {
			return err
		}
		l.free <- lot
	}
	return nil
}

// decode goes through every step-th block.
func (sc *columnScan) decode(ctx context.Context, l *lane, blocks []*block, from, step int) error {
	for i := from; i < len(blocks); i += step {
		select {
		case lot := <-l.free:
			sc.reader.lend(blocks[i])
			if err := sc.load(l.d, lot, blocks[i]); err != nil {
				return err
			}
			l.full <- lot
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// load reads what was asked for of a block.
func (sc *columnScan) load(d *column.Decoder, lot *columnLot, b *block) error {
	lot.block, lot.runs = b, lot.runs[:0]
	if err := b.load(d, 1<<colTime); err != nil {
		return err
	}
	sc.match.runs(b, func(from, to int) { lot.runs = append(lot.runs, span{from, to, b.kind(from)}) })
	if len(lot.runs) == 0 {
		return nil
	}
	from, to := lot.runs[0].from, lot.runs[len(lot.runs)-1].to
	for i := range sc.q.Fields {
		var err error
		switch f := &sc.q.Fields[i]; f.Attribute {
		case "type":
		case "id":
			err = lot.fields[i].attribute(b, d, from, to, colID)
		case "source":
			err = lot.fields[i].attribute(b, d, from, to, colSource)
		case "subject":
			err = lot.fields[i].attribute(b, d, from, to, colSubject)
		default:
			err = lot.fields[i].path(b, d, from, to, f)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// give hands a block over, stretch by stretch.
func (sc *columnScan) give(lot *columnLot) error {
	times := lot.block.ints[colTime]
	for _, run := range lot.runs {
		for i := range sc.q.Fields {
			sc.columns[i] = lot.stretch(&sc.q.Fields[i], i, run)
		}
		if err := sc.each(&store.ColumnBlock{Times: times[run.from:run.to], Columns: sc.columns}); err != nil {
			return err
		}
	}
	return nil
}

// stretch is what some rows of one type have in the i-th field.
func (lot *columnLot) stretch(f *store.ColumnField, i int, rows span) store.Column {
	if f.Attribute == "type" {
		return store.Column{Dict: [][]byte{[]byte(rows.kind)}}
	}
	c, first := lot.fields[i].column, lot.runs[0].from
	if c.Codes != nil {
		c.Codes = c.Codes[rows.from-first : rows.to-first]
	}
	if c.Numbers != nil {
		c.Numbers = c.Numbers[rows.from-first : rows.to-first]
	}
	return c
}

// attribute reads what some rows have in an attribute.
func (f *field) attribute(b *block, d *column.Decoder, from, to, col int) error {
	if err := b.load(d, 1<<col); err != nil {
		return err
	}
	t := &b.texts[col]
	f.dict = f.dict[:0]
	codes, coded := t.Codes()
	if !coded {
		for row := from; row < to; row++ {
			f.dict = append(f.dict, t.At(row))
		}
		codes = f.all(to - from)
	} else {
		if codes != nil {
			codes = codes[from:to]
		}
		for code := range t.DictLen() {
			f.dict = append(f.dict, t.DictAt(uint32(code)))
		}
	}
	f.column = store.Column{Codes: codes, Dict: f.dict}
	return nil
}

// all are the codes of rows of which each has a value of its own.
func (f *field) all(n int) []uint32 {
	for i := len(f.identity); i < n; i++ {
		f.identity = append(f.identity, uint32(i)) //nolint:gosec // a row of a block
	}
	return f.identity[:n]
}

// path reads what the data of some rows have at a path.
func (f *field) path(b *block, d *column.Decoder, from, to int, q *store.ColumnField) error {
	if err := b.load(d, 1<<colData); err != nil {
		return err
	}
	if q.Numbers {
		numbers, err := b.doc.Numbers(f.numbers[:0], from, to, q.Path...)
		if err != nil {
			return b.corrupt(colData, err)
		}
		f.numbers = numbers
		f.column = store.Column{Numbers: numbers}
		return nil
	}
	if err := b.doc.Path(&f.values, from, to, q.Path...); err != nil {
		return b.corrupt(colData, err)
	}
	v := &f.values
	f.dict, f.text = f.dict[:0], f.text[:0]
	codes, coded := v.Codes()
	if !coded {
		for row := range v.Len() {
			f.value(v.Kind(row), v.Raw(row))
		}
		codes = f.all(v.Len())
	} else {
		for code := range v.DictLen() {
			f.value(v.DictKind(uint32(code)), v.DictRaw(uint32(code)))
		}
	}
	f.column = store.Column{Codes: codes, Dict: f.dict}
	return nil
}

// value adds a value to the dictionary, as JSON.
func (f *field) value(kind shred.Kind, raw []byte) {
	switch kind {
	case shred.Missing:
		raw = nil
	case shred.String:
		at := len(f.text)
		f.text = append(append(append(f.text, '"'), raw...), '"')
		raw = f.text[at:len(f.text):len(f.text)] // stays where it is when text grows elsewhere
	default:
	}
	f.dict = append(f.dict, raw)
}

func (sc *columnScan) view(ctx context.Context, v *View) error {
	var err error
	sc.events = sc.events[:0]
	flush := func() {
		if err = ctx.Err(); err == nil && len(sc.events) > 0 {
			err = sc.each(&store.ColumnBlock{Events: sc.events})
		}
		sc.events = sc.events[:0]
	}
	sc.match.rows(v, func(x *row) {
		if err != nil {
			return
		}
		if sc.events = append(sc.events, v.event(x)); len(sc.events) >= tailBlock {
			flush()
		}
	})
	if err == nil {
		flush()
	}
	return err
}
