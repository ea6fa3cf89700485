package column

import (
	"bytes"
	"encoding/binary"
	"math/bits"
)

// Interner gives equal texts the same code, counted up from 0 in the order of their first appearance. The zero value is ready;
// Reset it for its memory.
type Interner struct {
	texts Texts
	slots []uint64 // the hash's upper half and code + 1; a power of two of them, at most half full
	spent int      // slots that were looked at in vain
}

// Reset forgets all texts.
func (n *Interner) Reset() {
	n.texts.Reset()
	if len(n.slots) == 0 {
		n.slots = make([]uint64, 256)
	}
	if len(n.slots) > 1024 { // most columns have few distinct texts: clear no more than such a one needs
		n.slots = n.slots[:256]
	}
	clear(n.slots)
	n.spent = 0
}

// Len is the number of distinct texts.
func (n *Interner) Len() int { return n.texts.entries() }

// Texts are the distinct texts by their code, plain.
func (n *Interner) Texts() *Texts { return &n.texts }

// Code is the code of text, which is copied when it is new.
func (n *Interner) Code(text []byte) uint32 {
	if len(n.slots) == 0 {
		n.Reset()
	}
	code, h, slot := n.look(text)
	if code < 0 {
		return n.add(text, h, slot)
	}
	return uint32(code) //nolint:gosec // not below zero
}

// Find is the code of text, or -1 where it has none.
func (n *Interner) Find(text []byte) int {
	if len(n.slots) == 0 {
		return -1
	}
	code, _, _ := n.look(text)
	return code
}

// look finds the code of text, or -1, its hash and where it would go.
func (n *Interner) look(text []byte) (code int, h, slot uint64) {
	h = hash(text)
	mask := uint64(len(n.slots) - 1) //nolint:gosec // not empty
	for i := h & mask; ; i = (i + 1) & mask {
		s := n.slots[i]
		if s == 0 {
			return -1, h, i
		}
		if s>>32 == h>>32 {
			if code := uint32(s) - 1; n.is(code, text) { //nolint:gosec // the lower half
				return int(code), h, i
			}
		}
		n.spent++
	}
}

func (n *Interner) is(code uint32, text []byte) bool {
	e := n.texts.entry(int(code))
	return bytes.Equal(e, text) && (e == nil) == (text == nil)
}

func (n *Interner) add(text []byte, h, slot uint64) uint32 {
	code := uint32(n.texts.entries()) //nolint:gosec // at most MaxRows
	n.texts.Append(text)
	n.slots[slot] = h>>32<<32 | uint64(code+1)
	if 2*n.texts.entries() > len(n.slots) {
		n.grow()
	}
	return code
}

// grow makes the table four times as large. The place of a text follows from the lower half of its hash, which is not kept.
func (n *Interner) grow() {
	size := 4 * len(n.slots)
	n.slots = grown(n.slots, size)[:size]
	clear(n.slots)
	mask := uint64(size - 1) //nolint:gosec // not empty
	for code := range n.texts.entries() {
		h := hash(n.texts.entry(code))
		i := h & mask
		for n.slots[i] != 0 {
			i = (i + 1) & mask
		}
		n.slots[i] = h>>32<<32 | uint64(code+1)
	}
}

// hash mixes eight bytes at a time by multiplication to 128 bits.
func hash(b []byte) uint64 {
	const k0, k1 = 0x9e3779b97f4a7c15, 0xbf58476d1ce4e5b9
	h := uint64(len(b)) * k1
	for len(b) > 8 {
		hi, lo := bits.Mul64(binary.LittleEndian.Uint64(b)^h, k0)
		h = hi ^ lo ^ k1
		b = b[8:]
	}
	hi, lo := bits.Mul64(load(b)^h, k0)
	hi, lo = bits.Mul64(hi^lo^k1, k1)
	return hi ^ lo
}

// load reads up to eight bytes as a number. Together with their count it tells them from all others.
func load(b []byte) uint64 {
	switch n := len(b); {
	case n >= 8:
		return binary.LittleEndian.Uint64(b)
	case n >= 4:
		return uint64(binary.LittleEndian.Uint32(b)) | uint64(binary.LittleEndian.Uint32(b[n-4:]))<<32
	case n > 0:
		return uint64(b[0]) | uint64(b[n>>1])<<8 | uint64(b[n-1])<<16
	}
	return 0
}
