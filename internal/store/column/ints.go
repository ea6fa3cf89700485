package column

import (
	"encoding/binary"
	"math"
	"math/bits"
)

// The forms of a column of numbers; the first byte says which.
const (
	intsConstant = iota // the number
	intsFrame           // base, multiplier, width; the packed multiples of the multiplier above the base
	intsDelta           // first number, base, multiplier, width, exceptions; the packed multiples that the differences are above the base
	intsRuns            // number of runs; their values and their lengths, as frames
	intsCodes           // number of values; the values as a frame, the codes packed
)

const (
	maxRuns   = 512
	maxValues = 256
)

// AppendInts appends a column of numbers. There may be at most MaxInts of them; none are a column too.
func AppendInts(dst []byte, values []int64) []byte {
	if len(values) == 0 {
		return append(dst, intsConstant, 0)
	}
	s := statsOf(values)
	if s.runs == 1 {
		return binary.AppendVarint(append(dst, intsConstant), values[0])
	}
	n, width := len(values), s.width()
	best := n * width
	if s.runs <= min(n/4, maxRuns) && s.runs*(width+bits.Len(uint(n)))+64 < best {
		return appendRuns(dst, values, s)
	}
	delta := deltaForm{}
	if width > 3 {
		delta = s.delta(values, width)
	}
	if width > 8 && n >= 4*8 {
		if c, ok := codesOf(values); ok {
			size := c.count*width + n*widthOf(uint64(c.count-1)) + 64 //nolint:gosec // at least one
			if size < best && (!delta.found || size < delta.size) {
				return c.append(dst, values)
			}
		}
	}
	if delta.found && delta.size < best {
		return delta.append(dst, values)
	}
	return appendFrame(append(dst, intsFrame), values, s, width)
}

// stats are what the choice of a form needs to know of numbers.
type stats struct {
	least, most int64
	runs        int
	divisor     uint64 // of all differences; at least 1
	by          exact  // it
}

func statsOf(values []int64) stats {
	s := stats{least: values[0], most: values[0], runs: 1, divisor: 1, by: exactly(1)}
	first := values[0]
	divisor, last := uint64(0), first
	var by exact
	for _, v := range values {
		if v == last {
			continue
		}
		last = v
		s.runs++
		s.least, s.most = min(s.least, v), max(s.most, v)
		if divisor != 1 {
			d := uint64(v) - uint64(first) //nolint:gosec // differences are taken modulo 2⁶⁴
			if v < first {
				d = -d
			}
			if divisor == 0 || !by.divides(d) {
				divisor = gcd(divisor, d)
				by = exactly(divisor)
			}
		}
	}
	// Differences of neighbours that overflow are no multiples any more.
	if divisor > 1 && uint64(s.most)-uint64(s.least) <= math.MaxInt64 { //nolint:gosec // as above
		s.divisor, s.by = divisor, by
	}
	return s
}

// width is the number of bits of the numbers' multiples of the divisor above the least.
func (s *stats) width() int {
	return widthOf((uint64(s.most) - uint64(s.least)) / s.divisor) //nolint:gosec // differences are taken modulo 2⁶⁴
}

func gcd(a, b uint64) uint64 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// appendFrame appends base, multiplier, width and the packed numbers.
func appendFrame(dst []byte, values []int64, s stats, width int) []byte {
	dst = binary.AppendVarint(dst, s.least)
	dst = binary.AppendUvarint(dst, s.divisor)
	dst = append(dst, byte(width)) //nolint:gosec // at most 64
	base := uint64(s.least)        //nolint:gosec // differences are taken modulo 2⁶⁴
	var buffer [chunk]uint64
	for len(values) > 0 {
		n := min(chunk, len(values))
		for i, v := range values[:n] {
			buffer[i] = uint64(v) - base //nolint:gosec // as above
		}
		if s.divisor != 1 {
			for i := range buffer[:n] {
				buffer[i] = s.by.of(buffer[i])
			}
		}
		dst = pack(dst, buffer[:n], width)
		values = values[n:]
	}
	return dst
}

// frame is a view of packed numbers.
type frame struct {
	base, mul uint64
	width     int
	packed    []byte
}

// frame reads what appendFrame wrote of n numbers.
func (r *reader) frame(n int) frame {
	f := frame{base: uint64(r.varint()), mul: r.uvarint(), width: int(r.byte())} //nolint:gosec // modulo 2⁶⁴
	if f.width > wide && f.width != 64 {
		r.failed = true
		return frame{}
	}
	f.packed = r.take(packedLen(n, f.width))
	return f
}

func (f *frame) at(i int) int64 {
	return int64(f.base + bitsAt(f.packed, i*f.width, f.width)*f.mul) //nolint:gosec // modulo 2⁶⁴
}

// appendRuns appends the numbers as runs of equal ones.
func appendRuns(dst []byte, values []int64, s stats) []byte {
	var runs, lengths [maxRuns]int64
	count := 0
	begin := 0
	for i, v := range values {
		if i+1 == len(values) || values[i+1] != v {
			runs[count], lengths[count] = v, int64(i+1-begin)
			count++
			begin = i + 1
		}
	}
	dst = binary.AppendUvarint(append(dst, intsRuns), uint64(count))
	dst = appendFrame(dst, runs[:count], s, s.width())
	l := statsOf(lengths[:count])
	return appendFrame(dst, lengths[:count], l, l.width())
}

// codes is a small dictionary of numbers: an open table on the stack.
type codes struct {
	count  int
	values [maxValues]int64
	slots  [4 * maxValues]uint16 // code + 1
}

func codeSlot(v int64) int {
	return int(uint64(v) * 0x9e3779b97f4a7c15 >> 54) //nolint:gosec // ten bits
}

// codesOf gives up where there are too many distinct numbers to pay.
func codesOf(values []int64) (codes, bool) {
	var c codes
	for i, v := range values {
		slot := codeSlot(v)
		for c.slots[slot] != 0 && c.values[c.slots[slot]-1] != v {
			slot = (slot + 1) % len(c.slots)
		}
		if c.slots[slot] != 0 {
			continue
		}
		if c.count == maxValues || c.count > 16+i/2 {
			return c, false
		}
		c.values[c.count] = v
		c.count++
		c.slots[slot] = uint16(c.count) //nolint:gosec // at most maxValues
	}
	return c, true
}

func (c *codes) append(dst []byte, values []int64) []byte {
	dst = binary.AppendUvarint(append(dst, intsCodes), uint64(c.count)) //nolint:gosec // a count
	s := statsOf(c.values[:c.count])
	dst = appendFrame(dst, c.values[:c.count], s, s.width())
	width := widthOf(uint64(c.count - 1)) //nolint:gosec // at least one
	var buffer [chunk]uint64
	for len(values) > 0 {
		n := min(chunk, len(values))
		for i, v := range values[:n] {
			slot := codeSlot(v)
			for c.values[c.slots[slot]-1] != v {
				slot = (slot + 1) % len(c.slots)
			}
			buffer[i] = uint64(c.slots[slot] - 1)
		}
		dst = pack(dst, buffer[:n], width)
		values = values[n:]
	}
	return dst
}

// DecodeInts reads a column of n numbers into the memory of dst, which grows where it is too small.
func DecodeInts(dst []int64, src []byte, n int) ([]int64, error) {
	return decodeInts(dst, src, n)
}

func decodeInts[T int64 | uint32](dst []T, src []byte, n int) ([]T, error) {
	if n < 0 || n > MaxInts {
		return dst[:0], corrupt("too many rows")
	}
	dst = grown(dst, n)
	r := reader{src: src}
	switch r.byte() {
	case intsConstant:
		unpack(dst, nil, 0, uint64(r.varint()), 0) //nolint:gosec // modulo 2⁶⁴
	case intsFrame:
		if f := r.frame(n); !r.failed {
			unpack(dst, f.packed, f.width, f.base, f.mul)
		}
	case intsDelta:
		decodeDelta(dst, &r)
	case intsRuns:
		decodeRuns(dst, &r)
	case intsCodes:
		decodeCodes(dst, &r)
	default:
		return dst[:0], corrupt("unknown form of numbers")
	}
	if r.failed || len(r.src) != 0 {
		return dst[:0], corrupt("numbers")
	}
	return dst, nil
}

func decodeRuns[T int64 | uint32](dst []T, r *reader) {
	count := r.count(min(maxRuns, len(dst)))
	values, lengths := r.frame(count), frame{}
	if !r.failed {
		lengths = r.frame(count)
	}
	if r.failed {
		return
	}
	for i := range count {
		length, v := lengths.at(i), T(values.at(i))
		if length < 0 || length > int64(len(dst)) {
			r.failed = true
			return
		}
		for j := range dst[:length] {
			dst[j] = v
		}
		dst = dst[length:]
	}
	r.failed = len(dst) != 0
}

func decodeCodes[T int64 | uint32](dst []T, r *reader) {
	count := r.count(min(maxValues, len(dst)))
	f := r.frame(count)
	if r.failed || count == 0 {
		r.failed = true
		return
	}
	var values [maxValues]T // codes beyond count, of which only corrupt bytes have any, are zeros
	unpack(values[:count], f.packed, f.width, f.base, f.mul)
	width := widthOf(uint64(count - 1)) //nolint:gosec // not zero
	packed := r.take(packedLen(len(dst), width))
	if r.failed {
		return
	}
	unpack(dst, packed, width, 0, 1)
	for i, code := range dst {
		dst[i] = values[uint8(code)]
	}
}
