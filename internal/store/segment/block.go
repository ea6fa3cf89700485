package segment

import (
	"errors"
	"fmt"
	"time"

	"github.com/pulsestream/pulsestream/internal/event"
	"github.com/pulsestream/pulsestream/internal/store/column"
	"github.com/pulsestream/pulsestream/internal/store/shred"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

// block is some rows of a segment under reading. Columns are decoded when load asks for them; what an event is made of are views of them,
// which stay as they are.
type block struct {
	seg       *Segment
	tenant    tenant.ID
	partition int
	entry     *blockEntry
	loaded    uint16
	ints      [colFlags + 1][]int64
	texts     [columns]column.Texts
	doc       shred.Reader
	docs      column.Texts // of doc, once whole
	whole     bool
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
	raw, err := b.seg.read(b.entry.columns[col], true)
	if err != nil {
		return err
	}
	switch col {
	case colTime, colSeq, colIndex, colReceived, colFlags:
		b.ints[col], err = column.DecodeInts(nil, raw, b.len())
		return err
	case colData:
		b.doc.Use(d)
		return b.openDocuments(d, raw)
	}
	return d.Texts(&b.texts[col], raw, b.len())
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
func (b *block) event(i int) event.Stored {
	flags := b.ints[colFlags][i]
	ev := event.Stored{Tenant: b.tenant, Partition: b.partition, Position: b.position(i), Event: event.Event{
		ID: view(b.texts[colID].At(i)), Source: view(b.texts[colSource].At(i)), Subject: view(b.texts[colSubject].At(i)), Type: b.kind(i),
		Time: time.Unix(0, b.ints[colTime][i]).UTC(), Received: time.Unix(0, b.ints[colReceived][i]).UTC(), Identified: flags&flagIdentified != 0}}
	if b.whole && flags&flagData != 0 {
		ev.Data = b.docs.At(i)
	}
	if b.loaded&(1<<colExtensions) != 0 && flags&flagExtensions != 0 {
		ev.Extensions = b.texts[colExtensions].At(i)
	}
	return ev
}

// documents decodes the data of all rows.
func (b *block) documents(d *column.Decoder) error {
	if b.whole {
		return nil
	}
	if err := b.load(d, 1<<colData); err != nil {
		return err
	}
	if err := b.doc.Docs(&b.docs); err != nil {
		return b.corrupt(colData, err)
	}
	b.whole = true
	return nil
}

// data decodes the data of one row.
func (b *block) data(d *column.Decoder, i int) ([]byte, error) {
	if err := b.load(d, 1<<colData|1<<colFlags); err != nil || b.ints[colFlags][i]&flagData == 0 {
		return nil, err
	}
	data, err := b.doc.Doc([]byte{}, i)
	if err != nil {
		return nil, b.corrupt(colData, err)
	}
	return data, nil
}

func (b *block) corrupt(col int, err error) error {
	return fmt.Errorf("%s: %w: column %d of the block at byte %d: %w", b.seg.path, ErrDamaged, col, b.entry.columns[0].off, err)
}

func (b *block) openDocuments(d *column.Decoder, raw []byte) error {
	b.doc.Use(d)
	return b.doc.Reset(raw, b.len())
}
