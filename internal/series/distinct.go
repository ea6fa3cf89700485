package series

import (
	"encoding/binary"
	"slices"
)

// maxFew is how many hashes a distinct count holds as they are. Nearly every one-second aggregate has fewer: a plain
// slice of 64 takes half a kilobyte and one allocation where a sketch of as many takes more.
const maxFew = 64

// distinct counts distinct hashes: exactly as long as there are few, by a HyperLogLog sketch from then on. Which of the
// two forms it has, and so what it estimates, depends only on the set of hashes, never on the order of adding and merging.
// The zero value is empty.
type distinct struct {
	few    []uint64 // empty once there is a sketch
	sorted int      // so many of the few are ascending, and no two of them the same; the others came later
	sketch *logLog
}

func (d *distinct) empty() bool { return len(d.few) == 0 && d.sketch == nil }

// reset keeps the memory of the few; a sketch is let go.
func (d *distinct) reset() { d.few, d.sorted, d.sketch = d.few[:0], 0, nil }

func (d *distinct) add(h uint64) {
	if d.sketch != nil {
		d.sketch.add(h)
		return
	}
	if n := d.sorted; n <= 8 { // few values that come again and again are told at once
		for _, known := range d.few[:n] {
			if known == h {
				return
			}
		}
	}
	d.few = append(d.few, h)
	if n := len(d.few); n >= 2*maxFew || n-d.sorted >= 8 && d.sorted < 8 {
		d.settle()
	}
}

// addAll is add for each of some hashes, of which there are no more than wait to be settled.
func (d *distinct) addAll(hashes []uint64) {
	switch {
	case d.sketch != nil:
		d.sketch.addAll(hashes)
	case d.sorted > 8:
		if d.few = append(d.few, hashes...); len(d.few) >= 2*maxFew {
			d.settle()
		}
	default:
		for _, h := range hashes {
			d.add(h)
		}
	}
}

// settle does what reading would otherwise do. With more than a few hashes it goes over to a sketch of them.
func (d *distinct) settle() {
	if d.sketch != nil {
		d.sketch.settle()
		return
	}
	if d.sorted == len(d.few) {
		return
	}
	if len(d.few) > maxFew && many(d.few) {
		d.promote()
		return
	}
	slices.Sort(d.few)
	d.few = slices.Compact(d.few)
	if d.sorted = len(d.few); d.sorted > maxFew {
		d.promote()
	}
}

// many says that there are more than maxFew different hashes, which costs less than to sort them. It may be wrong the other way.
func many(hashes []uint64) bool {
	var seen [4 * maxFew]uint64
	n := 0
	for _, h := range hashes {
		i := h >> 56
		for seen[i] != 0 && seen[i] != h {
			i = (i + 1) % uint64(len(seen))
		}
		if seen[i] == h {
			continue
		}
		seen[i] = h
		if n++; n > maxFew {
			return true
		}
	}
	return false
}

// promote goes over from the few hashes to a sketch of them.
func (d *distinct) promote() {
	d.sketch = &logLog{}
	d.sketch.addAll(d.few)
	d.few, d.sorted = d.few[:0], 0
}

func (d *distinct) merge(o *distinct) {
	switch {
	case o.sketch == nil:
		if d.empty() {
			d.few, d.sorted = append(d.few, o.few...), o.sorted
			return
		}
		d.addAll(o.few)
	case d.sketch != nil:
		d.sketch.merge(o.sketch)
	default:
		d.sketch = o.sketch.clone()
		d.sketch.addAll(d.few)
		d.few, d.sorted = d.few[:0], 0
	}
}

func (d *distinct) estimate() uint64 {
	d.settle()
	if d.sketch == nil {
		return uint64(len(d.few))
	}
	return d.sketch.estimate()
}

// tagFew begins the encoding of the few hashes themselves. That of a sketch begins with its own version, 1 or 2.
const tagFew = 0

// size is how many bytes append adds.
func (d *distinct) size() int {
	d.settle()
	switch {
	case d.sketch != nil:
		return d.sketch.size()
	case len(d.few) == 0:
		return 0
	}
	return 1 + 8*len(d.few)
}

func (d *distinct) append(dst []byte) []byte {
	d.settle()
	if d.sketch != nil {
		return d.sketch.append(dst)
	}
	if len(d.few) == 0 {
		return dst
	}
	dst = append(dst, tagFew)
	for _, h := range d.few {
		dst = binary.BigEndian.AppendUint64(dst, h)
	}
	return dst
}

func decodeDistinct(b []byte) (distinct, error) {
	var d distinct
	switch {
	case len(b) == 0:
		return d, nil
	case b[0] != tagFew:
		var err error
		d.sketch, err = decodeLogLog(b)
		return d, err
	case len(b)%8 != 1 || len(b) == 1 || len(b) > 1+8*maxFew:
		return d, ErrSketch
	}
	d.few = make([]uint64, 0, len(b)/8)
	for b = b[1:]; len(b) > 0; b = b[8:] {
		h := binary.BigEndian.Uint64(b)
		if n := len(d.few); n > 0 && d.few[n-1] >= h {
			return distinct{}, ErrSketch
		}
		d.few = append(d.few, h)
	}
	d.sorted = len(d.few)
	return d, nil
}
