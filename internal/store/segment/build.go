package segment

import (
	"cmp"
	"slices"

	"github.com/pulsestream/pulsestream/internal/store/column"
	"github.com/pulsestream/pulsestream/internal/store/pieces"
	"github.com/pulsestream/pulsestream/internal/store/shred"
)

// Info is what is known of a segment without opening it.
type Info struct {
	Rows             int
	Bytes            int64
	MinTime, MaxTime int64 // Unix nanoseconds of the events' times
}

// Builder seals tails. It keeps its memory for the next one, and is not for use by several goroutines at once.
type Builder struct {
	texts *column.Encoder
	docs  *shred.Encoder

	out   *pieces.Writer
	buf   []byte
	order sorter
	block vectors

	ids       idEncoder
	indexes   []byte // of all tenants so far: they stand together in the file, so that looks for ids read little of it
	indexEnds []int  // of each tenant's
}

// vectors is what the rows of a block have, by column.
type vectors struct {
	ints  [colFlags + 1][]int64
	texts [columns]column.Texts
	docs  [][]byte // views
	seen  byte     // what was touched; nobody asks
}

// NewBuilder makes a Builder.
func NewBuilder() *Builder {
	return &Builder{texts: column.NewEncoder(), docs: shred.NewEncoder(), out: pieces.NewWriter()}
}

// Build writes the events of a tail to a new file, which is there as a whole, on disk, when Build returns nil; else it isn't.
func (b *Builder) Build(t *Tail, path string) (info Info, err error) {
	info.Rows = t.Len()
	info.Bytes, err = b.out.Make(path, magic, func() ([]byte, error) { return b.write(t, &info) })
	return info, err
}

// write puts all pieces and gives the directory.
func (b *Builder) write(t *Tail, info *Info) ([]byte, error) {
	order := slices.Clone(t.order)
	slices.SortFunc(order, func(x, y *rows) int { return cmp.Compare(x.Tenant, y.Tenant) })
	var entries []*tenantEntry
	b.indexes, b.indexEnds = b.indexes[:0], b.indexEnds[:0]
	for i, r := range order {
		e, err := b.tenant(&r.View)
		if err != nil {
			return nil, err
		}
		entries = append(entries, e)
		if i == 0 {
			info.MinTime, info.MaxTime = r.MinTime, r.MaxTime
		}
		info.MinTime, info.MaxTime = min(info.MinTime, r.MinTime), max(info.MaxTime, r.MaxTime)
	}
	at := 0
	for i, end := range b.indexEnds {
		p, err := b.out.Put(b.indexes[at:end])
		if err != nil {
			return nil, err
		}
		entries[i].ids, at = p, end
	}
	b.buf = appendDirectory(b.buf[:0], entries)
	return b.buf, nil
}

// tenant writes a tenant's blocks.
func (b *Builder) tenant(v *View) (*tenantEntry, error) {
	e := &tenantEntry{id: v.Tenant, partition: v.Partition, rows: v.N}
	defer b.forget()
	b.ids.begin()
	for rest := b.order.sort(v); len(rest) > 0; {
		n := b.block.fill(v, rest)
		entry, err := b.encode(v, rest[:n])
		if err != nil {
			return nil, err
		}
		e.blocks = append(e.blocks, entry)
		rest = rest[n:]
	}
	b.indexes = b.ids.append(b.indexes, e.blocks)
	b.indexEnds = append(b.indexEnds, len(b.indexes))
	return e, nil
}

// forget lets go of what is not the builder's.
func (b *Builder) forget() {
	b.order.forget()
	clear(b.block.docs[:cap(b.block.docs)])
}

// blockBytes is how many bytes of texts a block has at most, but for one whose only row has more.
const blockBytes = 16 << 20

// encode writes the columns of the block, which is of some rows.
func (b *Builder) encode(v *View, rows []*row) (blockEntry, error) {
	first := rows[0]
	e := blockEntry{rows: len(rows), minTime: first.time, maxTime: first.time, minSeq: first.seq, maxSeq: first.seq, minReceived: first.received, maxReceived: first.received}
	for i, r := range rows {
		b.ids.add(r.hash)
		if i+1 == len(rows) || rows[i+1].kind != r.kind {
			e.kinds = append(e.kinds, kindRun{v.names[r.kind], i + 1})
		}
		e.minTime, e.maxTime = min(e.minTime, r.time), max(e.maxTime, r.time)
		e.minSeq, e.maxSeq = min(e.minSeq, r.seq), max(e.maxSeq, r.seq)
		e.minReceived, e.maxReceived = min(e.minReceived, r.received), max(e.maxReceived, r.received)
	}
	for col := range columns {
		b.buf = b.column(b.buf[:0], col)
		var err error
		if e.columns[col], err = b.out.Put(b.buf); err != nil {
			return e, err
		}
	}
	return e, nil
}

// fill takes in as many of the rows as make a block, and says how many: a type has blocks of its own, unless it has few rows. It looks at each row
// once, since they stand all over memory.
func (c *vectors) fill(v *View, rows []*row) int {
	for i := range c.ints {
		c.ints[i] = c.ints[i][:0]
	}
	for i := range c.texts {
		c.texts[i].Reset()
	}
	c.docs = c.docs[:0]
	bytes := 0
	rows = rows[:min(len(rows), blockRows)]
	for i, r := range rows {
		if i%touched == 0 {
			c.touch(v, rows[i:min(i+touched, len(rows))])
		}
		id, subject, data, extensions := v.texts(r)
		bytes += len(id) + len(subject) + len(data) + len(extensions)
		if i > 0 && (bytes > blockBytes || rows[i].kind != rows[i-1].kind && i >= mixedRows) {
			return i
		}
		c.ints[colTime] = append(c.ints[colTime], r.time)
		c.ints[colSeq] = append(c.ints[colSeq], int64(r.seq)) //nolint:gosec // comes back the same way
		c.ints[colIndex] = append(c.ints[colIndex], int64(r.index))
		c.ints[colReceived] = append(c.ints[colReceived], r.received)
		c.ints[colFlags] = append(c.ints[colFlags], int64(r.flags))
		c.texts[colID].AppendString(id)
		c.texts[colSource].AppendString(v.names[r.source])
		c.texts[colSubject].AppendString(subject)
		c.texts[colExtensions].Append(extensions)
		c.docs = append(c.docs, data)
	}
	return len(c.docs)
}

// touched is how many rows are touched at a time.
const touched = 32

// touch reads a little of what fill looks at of some rows, one after the other, so that memory gives them all at once: each by itself would have to be
// waited for.
func (c *vectors) touch(v *View, rows []*row) {
	for _, r := range rows {
		b := v.arena[r.chunk][r.off:]
		for at := 0; at < min(len(b), 128); at += 64 {
			c.seen += b[at]
		}
	}
}

// column encodes one column.
func (b *Builder) column(dst []byte, col int) []byte {
	switch {
	case col <= colFlags:
		return b.texts.AppendInts(dst, b.block.ints[col])
	case col == colData:
		return b.docs.Append(dst, b.block.docs)
	}
	return b.texts.AppendTexts(dst, &b.block.texts[col])
}
