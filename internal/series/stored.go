package series

import (
	"encoding/binary"
	"slices"
)

// Rollups are stored by column: the numbers of an aggregate in columns of their own, then its quantile sketch, then its distinct ones. Nearly all
// quantile sketches follow from the numbers: of one value, of two, of many equal ones. Those take no bytes.

// The forms of a stored quantile sketch, by its first byte.
const (
	storedNone   = iota // there is none, though there are values
	storedFull          // as Quantiles.append writes it
	storedInside        // all values are positive; the first and the last bucket are those of Min and Max, and all counts together are Values
)

// AppendQuantiles appends the quantile sketch for one who stores the numbers too: nothing when it follows from them.
func (a *Agg) AppendQuantiles(dst []byte) []byte {
	switch {
	case a.Values == 0:
		if a.form&withQuant == 0 {
			return dst
		}
		return a.sk.quant.append(append(dst, storedFull))
	case a.form&hasValues != 0:
		return dst
	case a.form&withQuant == 0:
		return append(dst, storedNone)
	}
	q := &a.sk.quant
	if a.follows(q) {
		return dst
	}
	n := len(q.positive)
	if n < 2 || q.zero > 0 || len(q.negative) > 0 || a.Min <= tiny || q.positive[0].index != index(a.Min) || q.positive[n-1].index != index(a.Max) || q.count() != a.Values {
		return q.append(append(dst, storedFull))
	}
	dst = append(dst, storedInside)
	for i, b := range q.positive[:n-1] {
		many := uint64(0)
		if b.count > 1 {
			many = 1
		}
		step := q.positive[i+1].index - b.index - 1
		dst = binary.AppendUvarint(dst, uint64(step)<<1|many) //nolint:gosec // indexes ascend
		if many > 0 {
			dst = binary.AppendUvarint(dst, b.count-2)
		}
	}
	return dst
}

// follows says whether q is what SetQuantiles makes of no bytes.
func (a *Agg) follows(q *Quantiles) bool {
	var one Quantiles
	var room [2]bucket
	one.positive = room[:0]
	a.imply(&one)
	return one.zero == q.zero && sameBuckets(one.positive, q.positive) && sameBuckets(one.negative, q.negative)
}

func sameBuckets(a, b []bucket) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

// imply adds what the numbers say of the values: Values times Min, or once Max and else Min.
func (a *Agg) imply(q *Quantiles) {
	if a.Min == a.Max {
		q.addTimes(a.Min, a.Values)
		return
	}
	q.addTimes(a.Min, a.Values-1)
	q.addTimes(a.Max, 1)
}

// SetQuantiles reads what AppendQuantiles has written of an aggregate whose numbers a has. It keeps the memory that a has, and
// leaves the distinct values alone.
func (a *Agg) SetQuantiles(b []byte) error {
	if len(b) == 0 {
		return a.setImplied()
	}
	switch form := b[0]; {
	case form == storedNone && len(b) == 1:
		return nil
	case form == storedFull:
		q, err := decodeQuantiles(b[1:])
		if err != nil {
			return err
		}
		a.spell().quant = q
		a.form |= withQuant
		return nil
	case form == storedInside && a.Values >= 2 && a.Min > tiny && a.Max >= a.Min:
		return a.setInside(b[1:])
	}
	return ErrSketch
}

func (a *Agg) setImplied() error {
	switch {
	case a.Values == 0:
	case a.form&explicit == 0 && a.Min == a.Max:
		a.form |= hasValues
	default:
		s := a.spell()
		s.quant.reset()
		a.imply(&s.quant)
		a.form |= withQuant
	}
	return nil
}

func (a *Agg) setInside(b []byte) error {
	r := sketchReader{b: b}
	s := a.spell()
	s.quant.reset()
	at, last, left := int64(index(a.Min)), int64(index(a.Max)), a.Values
	for len(r.b) > 0 {
		step, count := r.uvarint(), uint64(1)
		if step&1 != 0 {
			count = r.uvarint() + 2
		}
		if r.bad || count < 1 || count >= left || at >= last || len(s.quant.positive) >= maxBuckets-1 {
			s.quant.reset()
			return ErrSketch
		}
		s.quant.positive = append(s.quant.positive, bucket{int32(at), count}) //nolint:gosec // below last
		left -= count
		at += int64(min(step>>1, maxIndex*2)) + 1
	}
	if r.bad || at != last || left == 0 {
		s.quant.reset()
		return ErrSketch
	}
	s.quant.positive = append(s.quant.positive, bucket{int32(last), left}) //nolint:gosec // an index
	a.form |= withQuant
	return nil
}

// DistinctKeys appends what tells the distinct values, ascending: the 32 bits of each hash that a sketch of them keeps. They merge as the hashes do, and
// two of 64 values have the same once in some 16 000 times. When there are so many that the sketch has registers instead, it is encoded as many.
func (a *Agg) DistinctKeys(dst []uint32) (keys []uint32, many []byte) {
	if a.form&explicit == 0 {
		if a.form&hasHash != 0 {
			dst = append(dst, sparseKey(a.hash))
		}
		return dst, nil
	}
	u := &a.sk.unique
	u.settle()
	if u.sketch != nil {
		u.sketch.settle() // which may have been made just now
		if u.sketch.dense != nil {
			return dst, u.sketch.append(nil)
		}
		return append(dst, u.sketch.keys...), nil
	}
	from := len(dst)
	for _, h := range u.few {
		dst = append(dst, sparseKey(h))
	}
	slices.Sort(dst[from:])
	return dst[:from+len(slices.Compact(dst[from:]))], nil
}

// AddDistinctKeys adds what DistinctKeys has given.
func (a *Agg) AddDistinctKeys(keys []uint32) error {
	if len(keys) == 0 {
		return nil
	}
	previous := int64(-1)
	for _, k := range keys {
		zeros := k >> 1 & 63
		if int64(k) <= previous || k&1 == 0 && k>>1 >= 1<<sparsePrecision || k&1 == 1 && (zeros == 0 || zeros > 64-sparsePrecision+1) {
			return ErrSketch
		}
		previous = int64(k)
	}
	a.sketchOfDistinct().addKeys(keys)
	return nil
}

// AddManyDistinct adds a sketch that DistinctKeys has given.
func (a *Agg) AddManyDistinct(many []byte) error {
	l, err := decodeLogLog(many)
	if err != nil {
		return err
	}
	a.sketchOfDistinct().merge(l)
	return nil
}

// sketchOfDistinct is the sketch of the distinct values, whatever was there before.
func (a *Agg) sketchOfDistinct() *logLog {
	u := &a.spell().unique
	if u.sketch == nil {
		u.promote()
	}
	return u.sketch
}

// addKeys adds ascending keys.
func (l *logLog) addKeys(keys []uint32) {
	switch {
	case l.dense != nil:
		for _, k := range keys {
			if at, rank := register(k); l.dense[at] < rank {
				l.dense[at] = rank
			}
		}
	case len(l.keys)+len(l.tail) == 0:
		l.keys = append(l.keys, keys...)
		l.count()
	default:
		l.tail = append(l.tail, keys...)
		if len(l.tail) >= 256 && len(l.tail) > len(l.keys)/2 {
			l.settle()
		}
	}
}
