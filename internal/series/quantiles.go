package series

import (
	"encoding/binary"
	"math"
	"slices"
)

// Accuracy is the relative error of a quantile.
const Accuracy = 0.01

const gamma = (1 + Accuracy) / (1 - Accuracy)

// maxBuckets bounds a sketch: at 1 % they span values of 17 decimal orders of magnitude. Past it the smallest
// magnitudes are merged, so the upper quantiles stay exact to Accuracy.
const maxBuckets = 2048

// Quantiles is a mergeable quantile sketch with relative error (the scheme of DDSketch, Masson et al., VLDB 2019): values
// fall into buckets that grow geometrically. Buckets are kept sparse and sorted, so a series with few values costs
// few bytes, in memory and stored.
type Quantiles struct {
	n        uint64
	zero     uint64
	positive []bucket
	negative []bucket // by magnitude
}

type bucket struct {
	index int32
	count uint64
}

// tiny is the magnitude below which a value counts as zero: the smallest that a float64 holds at full precision.
const tiny = 0x1p-1022

// logGamma is the natural logarithm of gamma, and maxIndex what no finite value's index goes beyond.
const (
	logGamma = 0.020000666706669435
	maxIndex = 40_000
)

func index(v float64) int32 { return int32(math.Ceil(math.Log(v) / logGamma)) }

func value(i int32) float64 {
	return math.Min(math.MaxFloat64, 2/(gamma+1)*math.Exp(float64(i)*logGamma))
}

// Add counts one value; it must be finite.
func (q *Quantiles) Add(v float64) {
	q.n++
	switch {
	case v > tiny:
		q.positive = add(q.positive, bucket{index(v), 1})
	case v < -tiny:
		q.negative = add(q.negative, bucket{index(-v), 1})
	default:
		q.zero++
	}
}

func add(bs []bucket, b bucket) []bucket {
	i, ok := slices.BinarySearchFunc(bs, b.index, func(x bucket, t int32) int { return int(x.index) - int(t) })
	if ok {
		bs[i].count += b.count
		return bs
	}
	return collapse(slices.Insert(bs, i, b))
}

func collapse(bs []bucket) []bucket {
	if over := len(bs) - maxBuckets; over > 0 {
		for _, b := range bs[:over] {
			bs[over].count += b.count
		}
		bs = slices.Delete(bs, 0, over)
	}
	return bs
}

func merge(a, b []bucket) []bucket {
	if len(b) == 0 {
		return a
	}
	if len(b) == 1 {
		return add(a, b[0])
	}
	out := make([]bucket, 0, len(a)+len(b))
	for len(a) > 0 && len(b) > 0 {
		switch {
		case a[0].index < b[0].index:
			out, a = append(out, a[0]), a[1:]
		case a[0].index > b[0].index:
			out, b = append(out, b[0]), b[1:]
		default:
			out = append(out, bucket{a[0].index, a[0].count + b[0].count})
			a, b = a[1:], b[1:]
		}
	}
	return collapse(append(append(out, a...), b...))
}

// Merge adds all that o has seen.
func (q *Quantiles) Merge(o *Quantiles) {
	q.n += o.n
	q.zero += o.zero
	q.positive = merge(q.positive, o.positive)
	q.negative = merge(q.negative, o.negative)
}

// At estimates the p-quantile, p from 0 to 1; 0 when nothing was added.
func (q *Quantiles) At(p float64) float64 {
	if q.n == 0 {
		return 0
	}
	rank := uint64(math.Max(0, math.Min(1, p)) * float64(q.n-1))
	var seen uint64
	for _, b := range slices.Backward(q.negative) {
		if seen += b.count; seen > rank {
			return -value(b.index)
		}
	}
	if seen += q.zero; seen > rank {
		return 0
	}
	for _, b := range q.positive {
		if seen += b.count; seen > rank {
			return value(b.index)
		}
	}
	return 0 // not reached: n is the sum of all counts
}

func (q *Quantiles) append(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, q.zero)
	for _, bs := range [...][]bucket{q.positive, q.negative} {
		dst = binary.AppendUvarint(dst, uint64(len(bs)))
		prev := int32(0)
		for _, b := range bs {
			dst = binary.AppendVarint(dst, int64(b.index)-int64(prev))
			dst = binary.AppendUvarint(dst, b.count)
			prev = b.index
		}
	}
	return dst
}

func decodeQuantiles(b []byte) (*Quantiles, error) {
	r := sketchReader{b: b}
	q := &Quantiles{}
	q.zero = r.uvarint()
	q.n = q.zero
	for _, bs := range [...]*[]bucket{&q.positive, &q.negative} {
		n := r.uvarint()
		if n > maxBuckets || n > uint64(len(r.b)) {
			return nil, ErrSketch
		}
		index := int64(0)
		for i := range n {
			step, count := r.varint(), r.uvarint()
			index += step
			if count == 0 || q.n+count < q.n || i > 0 && step <= 0 || index < -maxIndex || index > maxIndex {
				return nil, ErrSketch
			}
			q.n += count
			*bs = append(*bs, bucket{int32(index), count})
		}
	}
	if r.bad || len(r.b) > 0 {
		return nil, ErrSketch
	}
	return q, nil
}

type sketchReader struct {
	b   []byte
	bad bool
}

func (r *sketchReader) uvarint() uint64 {
	v, k := binary.Uvarint(r.b)
	if k <= 0 {
		r.bad, r.b = true, nil
		return 0
	}
	r.b = r.b[k:]
	return v
}

func (r *sketchReader) varint() int64 {
	v, k := binary.Varint(r.b)
	if k <= 0 {
		r.bad, r.b = true, nil
		return 0
	}
	r.b = r.b[k:]
	return v
}
