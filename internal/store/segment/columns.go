package segment

import (
	"context"

	"github.com/pulsestream/pulsestream/internal/event"
	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/store/column"
	"github.com/pulsestream/pulsestream/internal/store/shred"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

// tailBlock is how many events of a tail are given at a time.
const tailBlock = 1024

// ScanColumns gives all events of a tenant that match: those of segments by column, those of tails as they are.
func (r *Reader) ScanColumns(ctx context.Context, s *Set, t tenant.ID, q store.ColumnScan, each func(*store.ColumnBlock) error) error {
	d := r.decoder()
	defer r.decoders.Put(d)
	sc := &columnScan{d: d, q: &q, match: newMatch(store.EventFilter{Types: q.Types, From: q.From, To: q.To}), each: each,
		columns: make([]store.Column, len(q.Fields)), fields: make([]field, len(q.Fields))}
	for _, b := range s.blocks(t, sc.match) {
		if err := ctx.Err(); err != nil {
			return err
		}
		r.lend(b)
		err := sc.block(b)
		r.takeBack(b)
		if err != nil {
			return err
		}
	}
	for i := range s.Views {
		if err := sc.view(ctx, &s.Views[i]); err != nil {
			return err
		}
	}
	return nil
}

type columnScan struct {
	d       *column.Decoder
	q       *store.ColumnScan
	match   *match
	each    func(*store.ColumnBlock) error
	fields  []field
	columns []store.Column // of the stretch in hand
	events  []event.Stored
}

// field is what a block has of a field that was asked for, with memory for the next block.
type field struct {
	values   shred.Values
	whole    store.Column // of all rows
	text     []byte
	identity []uint32
}

func (sc *columnScan) block(b *block) error {
	if err := b.load(sc.d, 1<<colTime); err != nil {
		return err
	}
	loaded := false
	var err error
	sc.match.runs(b, func(from, to int) {
		if err != nil {
			return
		}
		if !loaded {
			loaded = true
			if err = sc.load(b); err != nil {
				return
			}
		}
		for i := range sc.q.Fields {
			sc.columns[i] = sc.stretch(b, i, from, to)
		}
		err = sc.each(&store.ColumnBlock{Times: b.ints[colTime][from:to], Columns: sc.columns})
	})
	return err
}

// load reads what was asked for of all rows.
func (sc *columnScan) load(b *block) error {
	for i := range sc.q.Fields {
		var err error
		switch f := &sc.q.Fields[i]; f.Attribute {
		case "type":
		case "id":
			err = sc.fields[i].attribute(b, sc.d, colID)
		case "source":
			err = sc.fields[i].attribute(b, sc.d, colSource)
		case "subject":
			err = sc.fields[i].attribute(b, sc.d, colSubject)
		default:
			err = sc.fields[i].path(b, sc.d, f)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// stretch is a column's rows from (inclusive) to (exclusive), which are of one type.
func (sc *columnScan) stretch(b *block, i, from, to int) store.Column {
	if sc.q.Fields[i].Attribute == "type" {
		return store.Column{Dict: [][]byte{[]byte(b.kind(from))}}
	}
	c := sc.fields[i].whole
	if c.Codes != nil {
		c.Codes = c.Codes[from:to]
	}
	if c.Numbers != nil {
		c.Numbers = c.Numbers[from:to]
	}
	return c
}

func (f *field) attribute(b *block, d *column.Decoder, col int) error {
	if err := b.load(d, 1<<col); err != nil {
		return err
	}
	t := &b.texts[col]
	codes, coded := t.Codes()
	f.whole = store.Column{Dict: f.whole.Dict[:0]}
	if !coded {
		for row := range b.len() {
			f.whole.Dict = append(f.whole.Dict, t.At(row))
		}
		f.whole.Codes = f.all(b.len())
		return nil
	}
	for code := range t.DictLen() {
		f.whole.Dict = append(f.whole.Dict, t.DictAt(uint32(code)))
	}
	f.whole.Codes = codes
	return nil
}

// all are the codes of rows of which each has a value of its own.
func (f *field) all(n int) []uint32 {
	for i := len(f.identity); i < n; i++ {
		f.identity = append(f.identity, uint32(i)) //nolint:gosec // a row of a block
	}
	return f.identity[:n]
}

// path reads what the data of all rows have at a path.
func (f *field) path(b *block, d *column.Decoder, q *store.ColumnField) error {
	if err := b.load(d, 1<<colData); err != nil {
		return err
	}
	if q.Numbers {
		numbers, err := b.doc.Numbers(f.whole.Numbers[:0], q.Path...)
		if err != nil {
			return b.corrupt(colData, err)
		}
		f.whole.Numbers = numbers
		return nil
	}
	if err := b.doc.Path(&f.values, q.Path...); err != nil {
		return b.corrupt(colData, err)
	}
	v := &f.values
	f.whole = store.Column{Dict: f.whole.Dict[:0]}
	f.text = f.text[:0]
	codes, coded := v.Codes()
	if !coded {
		for row := range v.Len() {
			f.value(v.Kind(row), v.Raw(row))
		}
		f.whole.Codes = f.all(v.Len())
		return nil
	}
	for code := range v.DictLen() {
		f.value(v.DictKind(uint32(code)), v.DictRaw(uint32(code)))
	}
	f.whole.Codes = codes
	return nil
}

// value adds a value to the dictionary, as JSON.
func (f *field) value(kind shred.Kind, raw []byte) {
	switch kind {
	case shred.Missing:
		f.whole.Dict = append(f.whole.Dict, nil)
	case shred.String:
		at := len(f.text)
		f.text = append(append(append(f.text, '"'), raw...), '"')
		f.whole.Dict = append(f.whole.Dict, f.text[at:len(f.text):len(f.text)]) // stays where it is when text grows elsewhere
	default:
		f.whole.Dict = append(f.whole.Dict, raw)
	}
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
