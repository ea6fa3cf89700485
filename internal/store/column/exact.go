package column

import (
	"math"
	"math/bits"
)

// exact divides numbers by a divisor of which they are multiples: with a multiplication, modulo 2⁶⁴, by the inverse of its odd part (Granlund and
// Montgomery, 1994). A division takes some ten times as long.
type exact struct {
	shift   int
	inverse uint64
	limit   uint64 // the largest multiple by the odd part
}

func exactly(divisor uint64) exact {
	shift := bits.TrailingZeros64(divisor)
	odd := divisor >> shift
	inverse := odd // right in three bits; each step doubles them
	for range 5 {
		inverse *= 2 - odd*inverse
	}
	return exact{shift, inverse, math.MaxUint64 / odd}
}

// divides says whether v is a multiple.
func (e *exact) divides(v uint64) bool {
	return v&(1<<e.shift-1) == 0 && v>>e.shift*e.inverse <= e.limit
}

// of is v, a multiple, by the divisor.
func (e *exact) of(v uint64) uint64 { return v >> e.shift * e.inverse }

// signed is of a number that may be negative.
func (e *exact) signed(v int64) int64 {
	return int64(uint64(v>>e.shift) * e.inverse) //nolint:gosec // modulo 2⁶⁴
}
