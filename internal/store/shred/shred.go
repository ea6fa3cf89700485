// Package shred turns a column of JSON texts into columns of their values and back, byte for byte.
//
// A text's shape is what is left when its scalar values are cut out: names, structure and white space. Texts of one type of event
// have few shapes. A block keeps each shape once, which shape each row has, and for each place of a shape where a value was cut out,
// its slot, the values of the rows as a column of their own. What does not fit the scheme is kept whole: texts with a rare
// shape, long ones, ones with many values. So the values of a path are read without the rest, and often as codes of a dictionary.
//
// Texts are expected to be JSON, but whatever they are, they come back as they were. No text (nil) is not the empty text.
package shred

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/bits"

	"github.com/pulsestream/pulsestream/internal/store/column"
)

const (
	maxShapes  = 64       // of a block
	candidates = 256      // shapes that are looked at to find the most frequent ones
	minRows    = 8        // of a shape, and one more for every slotsARow slots
	slotsARow  = 4        // a column takes some bytes of its own
	maxText    = 16 << 10 // bytes
	maxSlots   = 256      // of a shape

	format = 1 // the first byte

	// mark stands in a shape where a value was. No JSON text has it outside of its strings.
	mark = 0
)

// What a row is, when it is not the number of a shape, counted from rowShapes on.
const (
	rowNil = iota
	rowWhole
	rowShapes
)

// mode is how the values of a slot are written.
type mode byte

const (
	modeStrings mode = iota // all are strings, without their quotes
	modePlain               // none is a string
	modeMixed               // some are strings, with their quotes
	modes
)

func corrupt(what string) error { return fmt.Errorf("shredded texts: %w: %s", column.ErrCorrupt, what) }

// span is where a value stands in a text, its quotes included.
type span struct{ from, to uint32 }

// stringEnd is where the quote is that ends the string whose inside begins at i, or -1. It looks at eight bytes at a time: where
// one is a quote, and so zero in q, taking one from it borrows from its top bit. The lowest such bit is always right.
func stringEnd(text []byte, i int) int {
	const ones, tops = 0x0101010101010101, 0x8080808080808080
	for at := i; at+8 <= len(text); at += 8 {
		q := binary.LittleEndian.Uint64(text[at:]) ^ ones*'"'
		if found := (q - ones) &^ q & tops; found != 0 {
			if at += bits.TrailingZeros64(found) >> 3; at == i || text[at-1] != '\\' {
				return at
			}
			return escapedEnd(text, i)
		}
	}
	return escapedEnd(text, i)
}

// escapedEnd is stringEnd, byte by byte.
func escapedEnd(text []byte, i int) int {
	for ; i < len(text); i++ {
		switch text[i] {
		case '"':
			return i
		case '\\':
			i++
		}
	}
	return -1
}

// plainEnd is where the number, true, false or null ends that begins at i.
func plainEnd(text []byte, i int) int {
	for i < len(text) && !structural(text[i]) {
		i++
	}
	return i
}

// structural says whether c is no part of a scalar value outside of strings.
func structural(c byte) bool {
	return c <= ' ' || c == ',' || c == '}' || c == ']' || c == ':' || c == '"' || c == '{' || c == '['
}

// cut finds the values of a text from i on; n of them lie before. It appends the text without them to shape, a mark in the place of
// each, and returns how many there are, or -1 where the text cannot be shredded.
func cut(shape, text []byte, i, n int, values *[maxSlots]span) ([]byte, int) {
	copied := i
	for i < len(text) {
		var end int
		switch c := text[i]; {
		case c == '"':
			if end = stringEnd(text, i+1) + 1; end == 0 {
				return shape, -1
			}
			after := end
			for after < len(text) && text[after] <= ' ' {
				after++
			}
			if after < len(text) && text[after] == ':' { // a name
				i = end
				continue
			}
		case structural(c):
			i++
			continue
		default:
			end = plainEnd(text, i)
		}
		if n == maxSlots {
			return shape, -1
		}
		values[n] = span{uint32(i), uint32(end)} //nolint:gosec // at most maxText
		n++
		shape = append(append(shape, text[copied:i]...), mark)
		i, copied = end, end
	}
	shape = append(shape, text[copied:]...)
	if bytes.Count(shape, []byte{mark}) != n { // it had such bytes itself
		return shape, -1
	}
	return shape, n
}
