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

// index is the bucket of a number that is not smaller than tiny.
func index(v float64) int32 {
	x := approximateIndex(v)
	i := int32(x)
	if float64(i) < x {
		i++
	}
	if above := float64(i) - x; above < doubt || above > 1-doubt {
		return exactIndex(v)
	}
	return i
}

// exactIndex says what a bucket is.
func exactIndex(v float64) int32 { return int32(math.Ceil(math.Log(v) / logGamma)) }

// doubt is how near the end of a bucket a number may be found before the logarithm itself is asked: more than twice what the
// approximation is off.
const doubt = 2e-4

// approximateIndex is the logarithm of v by gamma, to less than a ten-thousandth: the exponent as it stands in v, and a polynomial
// through the logarithm of what stands behind it, fitted at the Chebyshev nodes.
func approximateIndex(v float64) float64 {
	b := math.Float64bits(v)
	t := math.Float64frombits(b&(1<<52-1)|1023<<52) - 1
	p := 1.6936626597807795e-06 + t*(0.9998325947816336+t*(-0.497203331220227+t*(0.3150412799088232+t*(-0.18901954822330114+t*(0.0815231776177271+t*-0.017029610589181482)))))
	return (float64(int64(b>>52)-1023)*math.Ln2 + p) * (1 / logGamma)
}

func value(i int32) float64 {
	return math.Min(math.MaxFloat64, 2/(gamma+1)*math.Exp(float64(i)*logGamma))
}

// Add counts one value; it must be finite.
func (q *Quantiles) Add(v float64) { q.addTimes(v, 1) }

func (q *Quantiles) addTimes(v float64, n uint64) {
	switch {
	case v > tiny:
		q.positive = add(q.positive, bucket{index(v), n})
	case v < -tiny:
		q.negative = add(q.negative, bucket{index(-v), n})
	default:
		q.zero += n
	}
}

// reset keeps the memory.
func (q *Quantiles) reset() { q.zero, q.positive, q.negative = 0, q.positive[:0], q.negative[:0] }

// count is how many values were added.
func (q *Quantiles) count() uint64 {
	n := q.zero
	for _, bs := range [...][]bucket{q.positive, q.negative} {
		for _, b := range bs {
			n += b.count
		}
	}
	return n
}

func add(bs []bucket, b bucket) []bucket {
	low := 0
	for n := len(bs); n > 0; { // written so that it is compiled without branches, which nobody could foretell
		half := (n + 1) / 2
		next := low + half
		if bs[next-1].index < b.index {
			low = next
		}
		n -= half
	}
	if low < len(bs) && bs[low].index == b.index {
		bs[low].count += b.count
		return bs
	}
	bs = append(bs, b)
	copy(bs[low+1:], bs[low:])
	bs[low] = b
	return collapse(bs)
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

// merge adds the buckets of b to a, in a's memory where it has room.
func merge(a, b []bucket) []bucket {
	switch {
	case len(b) == 0:
		return a
	case len(a) == 0:
		return append(a, b...)
	case len(b) == 1:
		return add(a, b[0])
	}
	fresh := 0
	for i, j := 0, 0; j < len(b); j++ {
		for i < len(a) && a[i].index < b[j].index {
			i++
		}
		if i == len(a) || a[i].index != b[j].index {
			fresh++
		}
	}
	i, j, to := len(a)-1, len(b)-1, len(a)+fresh-1
	a = slices.Grow(a, fresh)[:len(a)+fresh]
	for ; j >= 0; to-- { // from behind, so that nothing is written over that is still to be read
		switch {
		case i >= 0 && a[i].index > b[j].index:
			a[to] = a[i]
			i--
		case i >= 0 && a[i].index == b[j].index:
			a[to] = bucket{a[i].index, a[i].count + b[j].count}
			i--
			j--
		default:
			a[to] = b[j]
			j--
		}
	}
	return collapse(a)
}

// Merge adds all that o has seen.
func (q *Quantiles) Merge(o *Quantiles) {
	q.zero += o.zero
	q.positive = merge(q.positive, o.positive)
	q.negative = merge(q.negative, o.negative)
}

// At estimates the p-quantile, p from 0 to 1; 0 when nothing was added.
func (q *Quantiles) At(p float64) float64 {
	n := q.count()
	if n == 0 {
		return 0
	}
	rank := uint64(math.Max(0, math.Min(1, p)) * float64(n-1))
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

func decodeQuantiles(b []byte) (Quantiles, error) {
	r := sketchReader{b: b}
	q := Quantiles{}
	q.zero = r.uvarint()
	total := q.zero
	for _, bs := range [...]*[]bucket{&q.positive, &q.negative} {
		n := r.uvarint()
		if n > maxBuckets || n > uint64(len(r.b)) {
			return Quantiles{}, ErrSketch
		}
		index := int64(0)
		for i := range n {
			step, count := r.varint(), r.uvarint()
			index += step
			if count == 0 || total+count < total || i > 0 && step <= 0 || index < -maxIndex || index > maxIndex {
				return Quantiles{}, ErrSketch
			}
			total += count
			*bs = append(*bs, bucket{int32(index), count})
		}
	}
	if r.bad || len(r.b) > 0 {
		return Quantiles{}, ErrSketch
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
