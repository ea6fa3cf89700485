package column

import (
	"encoding/binary"
	"math"
	"math/bits"
	"slices"
)

// deltaForm is how to write numbers as differences from their predecessors, above a base. Differences that need more than width
// bits, or are below the base, stand apart and must be few: where the rows of one type end and those of the next begin, time jumps back.
type deltaForm struct {
	found      bool
	base       int64
	divisor    int64
	by         exact // it
	width      int
	exceptions int
	size       int // bits, about
}

// exceptionBits is about what an exception takes.
const exceptionBits = 64

// sampleSize is how many differences are looked at before all of them are.
const sampleSize = 64

// delta finds the best form of the differences, if by a sample of them it may be smaller than most bits for each number.
func (s *stats) delta(values []int64, most int) deltaForm {
	f := deltaForm{divisor: int64(s.divisor), by: s.by} //nolint:gosec // at most the largest difference, which fits
	var room [sampleSize]int64
	sample := f.sample(room[:0], values)
	limit := limitOf(sample)
	if len(sample) == len(room) { // numbers without any order, such as those of ids, are most of what is stored, and have differences as large as themselves
		first, _ := slices.BinarySearch(sample, limit)
		var counts [65]int
		for _, d := range sample {
			counts[bits.Len64(uint64(d-sample[first]))]++ //nolint:gosec // modulo 2⁶⁴
		}
		if _, _, size := narrowest(&counts, len(sample)); size >= len(sample)*most {
			return f
		}
	}
	f.base = f.findBase(values, limit)
	var counts [65]int
	for i := 1; i < len(values); i++ {
		counts[bits.Len64(f.of(values, i))]++
	}
	f.width, f.exceptions, f.size = narrowest(&counts, len(values))
	f.size += 128
	f.found = f.size < 64*len(values)
	return f
}

// narrowest is the width in which n numbers, which are counted by their bits, take the least, how many are exceptions then, and about how many bits that is.
func narrowest(counts *[65]int, n int) (width, exceptions, size int) {
	width, size = 64, 64*n
	wider := 0
	for w := 64; w >= 0; w-- {
		if s := n*w + wider*exceptionBits; (w <= wide || w == 64) && s < size {
			width, exceptions, size = w, wider, s
		}
		wider += counts[w]
	}
	return width, exceptions, size
}

// of is the i-th difference. What is below the base comes out above all others.
func (f *deltaForm) of(values []int64, i int) uint64 {
	d := values[i] - values[i-1]
	if f.divisor != 1 {
		d = f.by.signed(d)
	}
	return uint64(d - f.base) //nolint:gosec // modulo 2⁶⁴
}

// sample appends some of the differences, above no base, in order.
func (f *deltaForm) sample(dst []int64, values []int64) []int64 {
	for i := range min(sampleSize, len(values)-1) { // far apart, and in step with nothing
		dst = append(dst, int64(f.of(values, 1+i*40503%(len(values)-1)))) //nolint:gosec // modulo 2⁶⁴
	}
	slices.Sort(dst)
	return dst
}

// limitOf is what is not far below most of a sample.
func limitOf(sample []int64) int64 {
	n := len(sample)
	low, high := sample[n/10], sample[n-1-n/10]
	if limit := low - 2*(high-low); limit <= low {
		return limit
	}
	return low // they are far apart: that overflows
}

// findBase is the least difference that is not below the limit, which one at least is not.
func (f *deltaForm) findBase(values []int64, limit int64) int64 {
	base := int64(math.MaxInt64)
	for i := 1; i < len(values); i++ {
		if d := int64(f.of(values, i)); d >= limit { //nolint:gosec // modulo 2⁶⁴
			base = min(base, d)
		}
	}
	return base
}

func (f *deltaForm) append(dst []byte, values []int64) []byte {
	dst = binary.AppendVarint(append(dst, intsDelta), values[0])
	dst = binary.AppendVarint(dst, f.base)
	dst = binary.AppendVarint(dst, f.divisor)
	dst = append(dst, byte(f.width))                      //nolint:gosec // at most 64
	dst = binary.AppendUvarint(dst, uint64(f.exceptions)) //nolint:gosec // a count
	if f.exceptions > 0 {
		last := 0
		for i := 1; i < len(values); i++ {
			if d := f.of(values, i); bits.Len64(d) > f.width {
				dst = binary.AppendUvarint(dst, uint64(i-last)) //nolint:gosec // upwards
				dst = binary.AppendUvarint(dst, d)
				last = i
			}
		}
	}
	var buffer [chunk]uint64
	for from := 1; from < len(values); from += chunk {
		n := min(chunk, len(values)-from)
		for i := range buffer[:n] {
			d := f.of(values, from+i)
			if bits.Len64(d) > f.width {
				d = 0
			}
			buffer[i] = d
		}
		dst = pack(dst, buffer[:n], f.width)
	}
	return dst
}

func decodeDelta[T int64 | uint32](dst []T, r *reader) {
	first, base, divisor, width := r.varint(), r.varint(), r.varint(), int(r.byte())
	count := r.count(len(dst))
	exceptions := reader{src: r.src}
	last := 0
	for range count { // past them, to where the packed differences are
		last += r.count(len(dst) - 1 - last)
		r.uvarint()
	}
	if r.failed || len(dst) == 0 || width > wide && width != 64 {
		r.failed = true
		return
	}
	packed := r.take(packedLen(len(dst)-1, width))
	if r.failed {
		return
	}
	unpack(dst[1:], packed, width, 0, 1)
	at := 0
	for range count {
		at += exceptions.count(len(dst) - 1 - at)
		dst[at] = T(exceptions.uvarint())
	}
	sum := T(first)
	dst[0] = sum
	mul, step := T(divisor), T(base*divisor)
	for i, d := range dst[1:] {
		sum += d*mul + step
		dst[i+1] = sum
	}
}
