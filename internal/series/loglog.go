package series

import (
	"encoding/binary"
	"math"
	"math/bits"
	"slices"

	"github.com/axiomhq/hyperloglog"
)

// precision of the sketches: 2^14 registers, a standard error of 0.8 %. Until there would be more bytes of them than registers,
// hashes are kept with sparsePrecision bits.
const (
	precision       = 14
	sparsePrecision = 25
	registers       = 1 << precision
)

// logLog is a HyperLogLog sketch in the form of github.com/axiomhq/hyperloglog, whose encoding is what is stored and whose estimates
// these are. That library keeps new hashes in a hash table and the others in a compressed list; a sketch of a minute, which is
// merged from those of its seconds, spends its time in allocating them. Here they are a sorted list, and a tail that is not yet.
type logLog struct {
	keys   []uint32 // ascending
	tail   []uint32 // in any order; some may be among keys
	dense  []uint8  // the registers; the other two are empty then
	packed int      // bytes of keys when they are stored
}

// sparseKey is what is kept of a hash: its first 25 bits, and when the last 11 of them are zero and so don't say it, how many zeros follow.
func sparseKey(h uint64) uint32 {
	index := uint32(h >> (64 - sparsePrecision))
	if index&(1<<(sparsePrecision-precision)-1) != 0 {
		return index << 1
	}
	zeros := bits.LeadingZeros64(h<<sparsePrecision|(1<<sparsePrecision-1)) + 1
	return index<<7 | uint32(zeros)<<1 | 1 //nolint:gosec // at most 40
}

// register is where a sparse key belongs, and what it says there.
func register(key uint32) (index uint32, rank uint8) {
	if key&1 == 1 {
		return key >> (32 - precision), uint8(key>>1&63) + sparsePrecision - precision
	}
	rank = uint8(bits.LeadingZeros32(key<<(32-sparsePrecision+precision-1)) + 1) //nolint:gosec // at most 33
	return key >> (sparsePrecision - precision + 1) & (registers - 1), rank
}

func (l *logLog) add(h uint64) {
	if l.dense != nil {
		rank := uint8(bits.LeadingZeros64(h<<precision|1<<(precision-1))) + 1 //nolint:gosec // at most 64
		if at := h >> (64 - precision); l.dense[at] < rank {
			l.dense[at] = rank
		}
		return
	}
	l.push(sparseKey(h))
}

// addAll is add for each of some hashes.
func (l *logLog) addAll(hashes []uint64) {
	if l.dense != nil {
		for _, h := range hashes {
			l.add(h)
		}
		return
	}
	l.tail = slices.Grow(l.tail, len(hashes))
	for _, h := range hashes {
		l.tail = append(l.tail, sparseKey(h))
	}
	l.bound()
}

func (l *logLog) push(key uint32) {
	l.tail = append(l.tail, key)
	l.bound()
}

// bound settles once there is so much in the tail that it pays.
func (l *logLog) bound() {
	if len(l.tail) >= 256 && len(l.tail) > len(l.keys)/2 {
		l.settle()
	}
}

// settle sorts the tail in, and goes over to registers when they are smaller.
func (l *logLog) settle() {
	if len(l.tail) == 0 {
		return
	}
	sortKeys(l.tail)
	tail := slices.Compact(l.tail)
	old := len(l.keys)
	// Merged from behind, in place.
	keys := slices.Grow(l.keys, len(tail))[:old+len(tail)]
	to := len(keys)
	for i, j := old, len(tail); i > 0 || j > 0; {
		switch {
		case j == 0 || i > 0 && keys[i-1] > tail[j-1]:
			i--
			to--
			keys[to] = keys[i]
		default:
			if i > 0 && keys[i-1] == tail[j-1] {
				i--
			}
			j--
			to--
			keys[to] = tail[j]
		}
	}
	l.keys = keys[:copy(keys, keys[to:])]
	l.tail = l.tail[:0]
	l.count()
}

// How many keys it pays to sort by their bytes.
const fewKeys, manyKeys = 64, 2048

// sortKeys sorts a tail: byte by byte, the lowest first, which takes a third of the time of comparing.
func sortKeys(keys []uint32) {
	if len(keys) < fewKeys || len(keys) > manyKeys {
		slices.Sort(keys)
		return
	}
	var scratch [manyKeys]uint32
	var places [4][256]uint16
	for _, k := range keys {
		places[0][k&0xff]++
		places[1][k>>8&0xff]++
		places[2][k>>16&0xff]++
		places[3][k>>24]++
	}
	from, to := keys, scratch[:len(keys)]
	for pass := range places {
		at, place := uint16(0), &places[pass]
		for b, n := range place {
			place[b] = at
			at += n
		}
		shift := 8 * pass
		for _, k := range from {
			p := &place[k>>shift&0xff]
			to[*p] = k
			*p++
		}
		from, to = to, from
	}
}

// count finds out how many bytes the keys take, and goes over to registers when those are smaller.
func (l *logLog) count() {
	l.packed = 0
	previous := uint32(0)
	for _, k := range l.keys {
		l.packed += varintSize(k - previous)
		previous = k
	}
	if l.packed > registers {
		l.spread()
	}
}

func varintSize(v uint32) int { return (bits.Len32(v|1) + 6) / 7 }

// spread goes over to registers.
func (l *logLog) spread() {
	dense := make([]uint8, registers)
	for _, list := range [...][]uint32{l.keys, l.tail} {
		for _, k := range list {
			if at, rank := register(k); dense[at] < rank {
				dense[at] = rank
			}
		}
	}
	*l = logLog{dense: dense}
}

func (l *logLog) merge(o *logLog) {
	if o.dense == nil && l.dense == nil {
		for _, list := range [...][]uint32{o.keys, o.tail} {
			l.tail = append(l.tail, list...)
		}
		l.bound()
		return
	}
	if l.dense == nil {
		l.spread()
	}
	for i, rank := range o.dense {
		if l.dense[i] < rank {
			l.dense[i] = rank
		}
	}
	for _, list := range [...][]uint32{o.keys, o.tail} {
		for _, k := range list {
			if at, rank := register(k); l.dense[at] < rank {
				l.dense[at] = rank
			}
		}
	}
}

func (l *logLog) clone() *logLog {
	return &logLog{keys: slices.Clone(l.keys), tail: slices.Clone(l.tail), dense: slices.Clone(l.dense), packed: l.packed}
}

func (l *logLog) estimate() uint64 {
	l.settle()
	if l.dense != nil {
		var s hyperloglog.Sketch
		if s.UnmarshalBinary(l.append(nil)) != nil {
			return 0 // not reached: it is its own form
		}
		return s.Estimate()
	}
	const m = 1 << sparsePrecision
	return uint64(m * math.Log(m/float64(m-min(len(l.keys), m-1))))
}

// Of the stored form, the library's version 2.
const (
	logLogVersion = 2
	formDense     = 0
	formSparse    = 1
	sparseHeader  = 4 + 4 + 12
)

func (l *logLog) size() int {
	l.settle()
	if l.dense != nil {
		return 8 + len(l.dense)
	}
	return sparseHeader + l.packed
}

func (l *logLog) append(dst []byte) []byte {
	l.settle()
	if l.dense != nil {
		dst = append(dst, logLogVersion, precision, 0, formDense)
		return append(binary.BigEndian.AppendUint32(dst, registers), l.dense...)
	}
	dst = append(dst, logLogVersion, precision, 0, formSparse, 0, 0, 0, 0) // the keys that are in no list: none
	last := uint32(0)
	if n := len(l.keys); n > 0 {
		last = l.keys[n-1]
	}
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(l.keys))) //nolint:gosec // no more than registers
	dst = binary.BigEndian.AppendUint32(dst, last)
	dst = binary.BigEndian.AppendUint32(dst, uint32(l.packed)) //nolint:gosec // no more than registers
	previous := uint32(0)
	for _, k := range l.keys {
		dst = binary.AppendUvarint(dst, uint64(k-previous))
		previous = k
	}
	return dst
}

// decodeLogLog reads what this or the library itself has written; the library is asked whether it is sound.
func decodeLogLog(b []byte) (*logLog, error) {
	if len(b) < 8 || b[1] != precision {
		return nil, ErrSketch
	}
	var s hyperloglog.Sketch
	if s.UnmarshalBinary(b) != nil {
		return nil, ErrSketch
	}
	if b[0] != logLogVersion { // the library writes its present version
		now, err := s.MarshalBinary()
		if err != nil || len(now) < 8 {
			return nil, ErrSketch
		}
		b = now
	}
	l := &logLog{}
	if b[3] == formDense {
		l.dense = slices.Clone(b[8:])
		return l, nil
	}
	loose := int(binary.BigEndian.Uint32(b[4:]))
	b = b[8:]
	for range loose {
		l.tail = append(l.tail, binary.BigEndian.Uint32(b))
		b = b[4:]
	}
	n := int(binary.BigEndian.Uint32(b))
	l.keys = make([]uint32, 0, n)
	b = b[12:]
	key := uint32(0)
	for len(b) > 0 {
		step, k := binary.Uvarint(b)
		if k <= 0 {
			return nil, ErrSketch
		}
		key += uint32(step) //nolint:gosec // it was checked that it fits
		l.keys = append(l.keys, key)
		l.packed += k
		b = b[k:]
	}
	if l.packed > registers {
		l.spread()
	}
	return l, nil
}
