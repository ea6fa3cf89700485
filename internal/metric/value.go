package metric

import (
	"bytes"
	"math"
)

// kind says what a value is.
type kind uint8

const (
	kindError   kind = iota // CEL's error: a missing path, operands of the wrong kind, a division by zero
	kindNull                //
	kindBool                // bits is 0 or 1
	kindInt                 // bits
	kindDouble              // bits, as math.Float64bits
	kindString              // text
	kindList                // bits is a node of a tape
	kindMap                 // bits is a node of a tape
	kindSeconds             // a duration, which only CEL itself makes; bits as kindDouble
	kindOther               // what neither a value nor a dimension can be, such as a time
	kindBail                // the fast path does not know: let CEL say
	// What an extraction leaves as it stands in the text.
	kindUnread     // text is the inside of a string with escape sequences
	kindUnreadMap  //
	kindUnreadList //
)

// value is what an expression comes to. It is passed in registers, and its text is a view of the event or of the
// document's scratch space.
type value struct {
	text []byte
	bits uint64
	kind kind
	ext  bool // of a list or map: it is of the extension attributes, not of data
}

func failed() value { return value{kind: kindError} }

func bail() value { return value{kind: kindBail} }

func boolean(b bool) value {
	if b {
		return value{kind: kindBool, bits: 1}
	}
	return value{kind: kindBool}
}

func double(f float64) value { return value{kind: kindDouble, bits: math.Float64bits(f)} }

func integer(i int64) value {
	return value{kind: kindInt, bits: uint64(i)} //nolint:gosec // the same 64 bits, to be read back by int
}

func text(b []byte) value { return value{kind: kindString, text: b} }

func (v value) double() float64 { return math.Float64frombits(v.bits) }

func (v value) int() int64 {
	return int64(v.bits) //nolint:gosec // the same 64 bits that integer was given
}

// node is where a list or map stands on its tape.
func (v value) node() uint32 {
	return uint32(v.bits) //nolint:gosec // it was put there as a uint32
}

func (v value) isTrue() bool { return v.kind == kindBool && v.bits == 1 }

func (v value) isFalse() bool { return v.kind == kindBool && v.bits == 0 }

func (v value) isNumber() bool { return v.kind == kindInt || v.kind == kindDouble }

func (v value) isNaN() bool { return v.kind == kindDouble && math.IsNaN(v.double()) }

func (v value) isContainer() bool { return v.kind == kindList || v.kind == kindMap }

// equal is CEL's ==, which is never an error: values of different kinds are different, numbers compare by what they are worth.
func equal(a, b value) value {
	switch {
	case a.isContainer() && b.isContainer():
		return bail()
	case a.isNumber() && b.isNumber():
		if a.isNaN() || b.isNaN() {
			return boolean(false)
		}
		return boolean(compareNumbers(a, b) == 0)
	case a.kind != b.kind:
		return boolean(false)
	case a.kind == kindString:
		return boolean(bytes.Equal(a.text, b.text))
	}
	return boolean(a.bits == b.bits)
}

// compare is CEL's order among numbers, strings and booleans, as -1, 0 or 1; others have none.
func compare(a, b value) (int, bool) {
	switch {
	case a.isNumber() && b.isNumber():
		return compareNumbers(a, b), true
	case a.kind != b.kind:
		return 0, false
	case a.kind == kindString:
		return bytes.Compare(a.text, b.text), true
	case a.kind == kindBool:
		return order(a.int(), b.int()), true
	}
	return 0, false
}

func compareNumbers(a, b value) int {
	switch {
	case a.kind == kindInt && b.kind == kindInt:
		return order(a.int(), b.int())
	case a.kind == kindInt:
		return -compareDoubleInt(b.double(), a.int())
	case b.kind == kindInt:
		return compareDoubleInt(a.double(), b.int())
	}
	return order(a.double(), b.double())
}

func compareDoubleInt(d float64, i int64) int {
	switch {
	case d < math.MinInt64:
		return -1
	case d > math.MaxInt64:
		return 1
	}
	return order(d, float64(i))
}

func order[T int64 | float64](a, b T) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}
