package column

import (
	"encoding/binary"
	"math/bits"
)

// wide is the most bits that one unaligned load of eight bytes is sure to hold. Numbers of more bits take eight bytes.
const wide = 57

// widthOf is the number of bits to pack numbers up to most in.
func widthOf(most uint64) int {
	if w := bits.Len64(most); w <= wide {
		return w
	}
	return 64
}

// packedLen is the number of bytes of n packed numbers.
func packedLen(n, width int) int { return (n*width + 7) / 8 }

// chunk is how many numbers are packed at a time: so many fill whole bytes at any width.
const chunk = 128

// pack appends numbers of width bits each, the lowest bit first. All but the last call of a sequence must give whole chunks.
func pack(dst []byte, values []uint64, width int) []byte {
	if width == 0 {
		return dst
	}
	var acc uint64
	have := 0
	for _, v := range values {
		acc |= v << (have & 63)
		if have += width; have >= 64 {
			dst = binary.LittleEndian.AppendUint64(dst, acc)
			have -= 64
			acc = v >> ((width - have) & 63)
			if have == 0 {
				acc = 0
			}
		}
	}
	for ; have > 0; have -= 8 {
		dst = append(dst, byte(acc))
		acc >>= 8
	}
	return dst
}

// unpack reads len(dst) numbers, each as base + number × mul. Packed has at least the packedLen of them.
func unpack[T int64 | uint32](dst []T, packed []byte, width int, base, mul uint64) {
	switch width {
	case 0:
		for i := range dst {
			dst[i] = T(base)
		}
		return
	case 8:
		packed = packed[:len(dst)]
		for i := range dst {
			dst[i] = T(base + uint64(packed[i])*mul)
		}
		return
	case 64:
		for i := range dst {
			dst[i] = T(base + binary.LittleEndian.Uint64(packed[i*8:])*mul)
		}
		return
	}
	mask := uint64(1)<<width - 1
	safe := 0 // numbers that a load of eight bytes stays inside packed for
	if len(packed) >= 8 {
		safe = min(len(dst), ((len(packed)-8)*8+7)/width+1)
	}
	bit := 0
	for i := range dst[:safe] {
		dst[i] = T(base + binary.LittleEndian.Uint64(packed[bit>>3:])>>(bit&7)&mask*mul)
		bit += width
	}
	for i := safe; i < len(dst); i++ {
		dst[i] = T(base + bitsAt(packed, bit, width)*mul)
		bit += width
	}
}

// bitsAt reads one number that begins at bit, wherever the end of packed is.
func bitsAt(packed []byte, bit, width int) uint64 {
	if width == 0 {
		return 0
	}
	at := bit >> 3
	if at+8 <= len(packed) {
		v := binary.LittleEndian.Uint64(packed[at:])
		if width == 64 {
			return v
		}
		return v >> (bit & 7) & (1<<width - 1)
	}
	var last [8]byte
	copy(last[:], packed[min(at, len(packed)):])
	return binary.LittleEndian.Uint64(last[:]) >> (bit & 7) & (1<<width - 1)
}
