package series

import (
	"encoding/binary"
	"slices"

	"github.com/axiomhq/hyperloglog"
)

// maxFew is how many hashes a distinct count holds as they are. Nearly every one-second aggregate has fewer: a plain
// slice of 64 takes half a kilobyte and one allocation where a sketch of as many takes more than one and ten.
const maxFew = 64

// precision of the sketches: 2^14 registers, a standard error of 0.8 %.
const precision = 14

// distinct counts distinct hashes: exactly as long as there are few, by a HyperLogLog sketch from then on. Which of the
// two forms it has, and so what it estimates, depends only on the set of hashes, never on the order of adding and merging.
// The zero value is empty.
type distinct struct {
	few    []uint64 // ascending; nil once there is a sketch
	sketch *hyperloglog.Sketch
}

func (d *distinct) empty() bool { return len(d.few) == 0 && d.sketch == nil }

func (d *distinct) add(h uint64) {
	if d.sketch != nil {
		d.sketch.InsertHash(h)
		return
	}
	i, found := slices.BinarySearch(d.few, h)
	if found {
		return
	}
	if len(d.few) < maxFew {
		d.few = slices.Insert(d.few, i, h)
		return
	}
	d.promote()
	d.sketch.InsertHash(h)
}

// promote goes over from the few hashes to a sketch of them.
func (d *distinct) promote() {
	d.sketch = hyperloglog.New14()
	for _, h := range d.few {
		d.sketch.InsertHash(h)
	}
	d.few = nil
}

func (d *distinct) merge(o *distinct) {
	switch {
	case o.sketch == nil:
		if d.empty() {
			d.few = slices.Clone(o.few)
			return
		}
		for _, h := range o.few {
			d.add(h)
		}
	case d.sketch != nil:
		_ = d.sketch.Merge(o.sketch) // fails only for sketches of different precision; ours have one
	default:
		few := d.few
		d.few, d.sketch = nil, o.sketch.Clone()
		for _, h := range few {
			d.sketch.InsertHash(h)
		}
	}
}

func (d *distinct) estimate() uint64 {
	if d.sketch == nil {
		return uint64(len(d.few))
	}
	return d.sketch.Estimate()
}

// tagFew begins the encoding of the few hashes themselves. That of a sketch begins with its own version, 1 or 2.
const tagFew = 0

func (d *distinct) append(dst []byte) []byte {
	if d.sketch != nil {
		out, _ := d.sketch.AppendBinary(dst) // fails only for a sketch without a precision; ours have one
		return out
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
		if len(b) < 2 || b[1] != precision {
			return d, ErrSketch
		}
		d.sketch = &hyperloglog.Sketch{}
		if d.sketch.UnmarshalBinary(b) != nil {
			return distinct{}, ErrSketch
		}
		return d, nil
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
	return d, nil
}
