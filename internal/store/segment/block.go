package segment

import (
	"errors"
	"fmt"
	"time"

	"github.com/pulsestream/pulsestream/internal/event"
	"github.com/pulsestream/pulsestream/internal/store/column"
	"github.com/pulsestream/pulsestream/internal/store/pieces"
	"github.com/pulsestream/pulsestream/internal/store/shred"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

// block is some rows of a segment under reading. Columns are decoded when load asks for them; what an event is made of are views of them,
// which stay as they are until the memory they are decoded into is another block's.
type block struct {
	seg       *Segment
	tenant    tenant.ID
	partition int
	entry     *blockEntry
	loaded    uint16
	there     span // whose documents are decoded
	*decoded       // nil before the first load of a block that nobody has lent any
}

// decoded is what the columns of a block are decoded into, and those after them of other blocks.
type decoded struct {
	ints  [colFlags + 1][]int64
	texts [columns]column.Texts
	doc   shred.Reader
	docs  column.Texts // of doc, of the rows that are there
	// What is read of the file: documents are decoded bit by bit, and need theirs as long as the block is read.
	column, data []byte
}

// again makes the block another one, whose columns are decoded into the memory of this one.
func (b *block) again(u *unit) {
	b.seg, b.tenant, b.partition, b.entry, b.loaded, b.there = u.seg, u.of.id, u.of.partition, u.entry, 0, span{}
}

// lend gives a block memory that others have used.
func (r *Reader) lend(b *block) {
	var there bool
	if b.decoded, there = r.decoded.Get().(*decoded); !there {
		b.decoded = &decoded{}
	}
}

// takeBack takes the memory from blocks that are not read any more, nor anything that was made of them.
func (r *Reader) takeBack(blocks ...*block) {
	for _, b := range blocks {
		r.decoded.Put(b.decoded)
		b.decoded, b.loaded, b.there = nil, 0, span{}
	}
}

// The sets of columns that readers ask for.
const (
	colsPlace = 1<<colSeq | 1<<colIndex
	colsHead  = colsPlace | 1<<colTime | 1<<colReceived | 1<<colFlags | 1<<colID | 1<<colSource | 1<<colSubject
	colsAll   = colsHead | 1<<colExtensions | 1<<colData
)

func (b *block) len() int { return b.entry.rows }

// load decodes those of some columns that are not yet.
func (b *block) load(d *column.Decoder, want uint16) error {
	if b.decoded == nil {
		b.decoded = &decoded{}
	}
	for col := range columns {
		if want&^b.loaded&(1<<col) == 0 {
			continue
		}
		if err := b.decode(d, col); err != nil {
			if errors.Is(err, column.ErrCorrupt) {
				err = b.corrupt(col, err)
			}
			return err
		}
		b.loaded |= 1 << col
	}
	return nil
}

func (b *block) decode(d *column.Decoder, col int) error {
	raw, err := b.read(col)
	if err != nil {
		return err
	}
	switch col {
	case colTime, colSeq, colIndex, colReceived, colFlags:
		b.ints[col], err = column.DecodeInts(b.ints[col], raw, b.len())
		return err
	case colData:
		b.doc.Use(d)
		return b.openDocuments(d, raw)
	}
	return d.Texts(&b.texts[col], raw, b.len())
}

// read reads a column of the file.
func (b *block) read(col int) (raw []byte, err error) {
	into := &b.column
	if col == colData {
		into = &b.data
	}
	*into, err = b.seg.ReadInto(*into, b.entry.columns[col], true)
	return *into, err
}

// kind is the type of a row.
func (b *block) kind(i int) string {
	for _, k := range b.entry.kinds {
		if i < k.end {
			return k.kind
		}
	}
	return ""
}

func (b *block) position(i int) event.Position {
	return event.Position{Seq: uint64(b.ints[colSeq][i]), Index: uint32(b.ints[colIndex][i])} //nolint:gosec // as they were stored
}

// event makes the event of a row, for which colsHead or colsAll must be loaded; its texts are views.
func (b *block) event(i int) (ev event.Stored) {
	b.put(&ev, i, b.kind(i))
	return ev
}

// put is event for a row whose type is known.
func (b *block) put(ev *event.Stored, i int, kind string) {
	flags := b.ints[colFlags][i]
	ev.Tenant, ev.Partition, ev.Position = b.tenant, b.partition, b.position(i)
	ev.ID, ev.Source, ev.Subject, ev.Type = view(b.texts[colID].At(i)), view(b.texts[colSource].At(i)), view(b.texts[colSubject].At(i)), kind
	ev.Time, ev.Received = time.Unix(0, b.ints[colTime][i]).UTC(), time.Unix(0, b.ints[colReceived][i]).UTC()
	ev.Identified, ev.Data, ev.Extensions = flags&flagIdentified != 0, nil, nil
	if flags&flagData != 0 && b.there.from <= i && i < b.there.to {
		ev.Data = b.docs.At(i - b.there.from)
	}
	if b.loaded&(1<<colExtensions) != 0 && flags&flagExtensions != 0 {
		ev.Extensions = b.texts[colExtensions].At(i)
	}
}

// documents decodes the data of some rows, which are those that event and put then give it with.
func (b *block) documents(d *column.Decoder, from, to int) error {
	if err := b.load(d, 1<<colData); err != nil {
		return err
	}
	if err := b.doc.Docs(&b.docs, from, to); err != nil {
		return b.corrupt(colData, err)
	}
	b.there = span{from: from, to: to}
	return nil
}

// document appends the data of one row to dst, which is not nil. Nil: there is none.
func (b *block) document(d *column.Decoder, dst []byte, i int) ([]byte, error) {
	if err := b.load(d, 1<<colData|1<<colFlags); err != nil || b.ints[colFlags][i]&flagData == 0 {
		return nil, err
	}
	data, err := b.doc.Doc(dst, i)
	if err != nil {
		return nil, b.corrupt(colData, err)
	}
	return data, nil
}

func (b *block) corrupt(col int, err error) error {
	return fmt.Errorf("%s: %w: column %d of the block at byte %d: %w", b.seg.Path(), pieces.ErrDamaged, col, b.entry.columns[0].Off, err)
}

func (b *block) openDocuments(d *column.Decoder, raw []byte) error {
	b.doc.Use(d)
	return b.doc.Reset(raw, b.len())
}
