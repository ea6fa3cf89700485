package rollup

import (
	"math"
	"slices"

	"github.com/pulsestream/pulsestream/internal/series"
	"github.com/pulsestream/pulsestream/internal/store/column"
)

// The same things come again in many rows of a block, so the keys of all distinct values stand once in it, and each row has places among them. Rows with
// so many that they are a sketch of registers have that.

// distinctRows are the distinct values of the rows of a block that is being made.
type distinctRows struct {
	counts []int64 // of keys of a row, or manyKeys
	keys   []uint32
	many   column.Texts

	sorted, more []uint64 // key and place
	known        []int64  // keys
	ints         []int64
}

// manyKeys is a row whose sketch has registers.
const manyKeys = -1

// full says that no more rows are to come into the block.
func (d *distinctRows) full() bool { return len(d.keys) >= blockKeys || d.many.Bytes() >= blockBytes }

func (d *distinctRows) reset() {
	d.counts, d.keys = d.counts[:0], d.keys[:0]
	d.many.Reset()
}

func (d *distinctRows) add(a *series.Agg) {
	from := len(d.keys)
	keys, many := a.DistinctKeys(d.keys)
	d.keys = keys
	if many != nil {
		d.many.Append(many)
		d.counts = append(d.counts, manyKeys)
		return
	}
	d.counts = append(d.counts, int64(len(keys)-from))
}

// append appends the piece: nothing when there are no distinct values. Rows come in order; starts are where those in the order of adding have their keys.
func (d *distinctRows) append(dst []byte, order []int32, e *column.Encoder) []byte {
	if len(d.keys) == 0 && d.many.Len() == 0 {
		return dst
	}
	d.sorted = d.sorted[:0]
	starts, at, many := make([]int32, len(d.counts)), int32(0), int32(0)
	for i, n := range d.counts {
		if starts[i] = at; n == manyKeys {
			starts[i] = many
			many++
			continue
		}
		at += int32(n) //nolint:gosec // few
	}
	d.ints = d.ints[:0]
	for _, i := range order {
		d.ints = append(d.ints, d.counts[i])
		for j := range max(0, d.counts[i]) {
			d.sorted = append(d.sorted, uint64(d.keys[int64(starts[i])+j])<<32|uint64(len(d.sorted)))
		}
	}
	dst = appendPart(dst, func(dst []byte) []byte { return column.AppendInts(dst, d.ints) })
	d.sort()
	d.known = d.known[:0]
	d.ints = grown(d.ints, len(d.sorted))
	for _, x := range d.sorted {
		if key := int64(x >> 32); len(d.known) == 0 || d.known[len(d.known)-1] != key {
			d.known = append(d.known, key)
		}
		d.ints[uint32(x)] = int64(len(d.known) - 1) //nolint:gosec // the place
	}
	dst = appendPart(dst, func(dst []byte) []byte { return column.AppendInts(dst, []int64{int64(len(d.known))}) })
	dst = appendPart(dst, func(dst []byte) []byte { return column.AppendInts(dst, d.known) })
	dst = appendPart(dst, func(dst []byte) []byte { return column.AppendInts(dst, d.ints) })
	var texts column.Texts
	for _, i := range order {
		if d.counts[i] == manyKeys {
			texts.Append(d.many.At(int(starts[i])))
		}
	}
	return e.AppendTexts(dst, &texts)
}

// sort sorts by keys, digit by digit when there are many.
func (d *distinctRows) sort() {
	if len(d.sorted) < 4096 {
		slices.Sort(d.sorted)
		return
	}
	const digit = 11
	d.more = grown(d.more, len(d.sorted))
	for shift := 32; shift < 64; shift += digit {
		var ends [1<<digit + 1]int32
		for _, x := range d.sorted {
			ends[x>>shift&(1<<digit-1)+1]++
		}
		for i := range 1 << digit {
			ends[i+1] += ends[i]
		}
		for _, x := range d.sorted {
			at := &ends[x>>shift&(1<<digit-1)]
			d.more[*at] = x
			*at++
		}
		d.sorted, d.more = d.more, d.sorted
	}
}

// distinctKeys are the distinct values of the rows of a block that is read. Without rows, there are none.
type distinctKeys struct {
	counts []int64
	starts []int32 // of a row among places, or among many
	known  []int64
	places []int64
	many   column.Texts
	keys   []uint32
}

func (d *distinctKeys) read(src []byte, n int, dec *column.Decoder) (err error) {
	d.counts = d.counts[:0]
	if len(src) == 0 {
		return nil
	}
	p := parts{src: src}
	if d.counts, err = column.DecodeInts(d.counts, p.part(), n); err != nil {
		return err
	}
	d.starts = grown(d.starts, n)
	total, many := int64(0), 0
	for i, c := range d.counts {
		switch {
		case c == manyKeys:
			d.starts[i] = int32(many)
			many++
		case c < 0 || c > column.MaxInts-total:
			return errCorrupt
		default:
			d.starts[i] = int32(total)
			total += c
		}
	}
	size, err := column.DecodeInts(d.places, p.part(), 1)
	if err != nil || size[0] < 0 || size[0] > total {
		return errCorrupt
	}
	known := int(size[0])
	if d.known, err = column.DecodeInts(d.known, p.part(), known); err != nil {
		return err
	}
	if d.places, err = column.DecodeInts(d.places, p.part(), int(total)); err != nil {
		return err
	}
	for _, x := range d.known {
		if x < 0 || x > math.MaxUint32 {
			return errCorrupt
		}
	}
	for _, x := range d.places {
		if x < 0 || x >= int64(known) {
			return errCorrupt
		}
	}
	return dec.Texts(&d.many, p.src, many)
}

// addTo adds those of a row.
func (d *distinctKeys) addTo(a *series.Agg, row int) error {
	if len(d.counts) == 0 {
		return nil
	}
	from := int(d.starts[row])
	if d.counts[row] == manyKeys {
		return a.AddManyDistinct(d.many.At(from))
	}
	d.keys = d.keys[:0]
	for _, at := range d.places[from : from+int(d.counts[row])] {
		d.keys = append(d.keys, uint32(d.known[at])) //nolint:gosec // read has looked
	}
	return a.AddDistinctKeys(d.keys)
}
