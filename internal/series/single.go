package series

import "math"

// Single is an aggregate of one observation, as small as that can be told. It has no pointers, so that however many there are, they are
// nothing to the garbage collector.
type Single struct {
	value float64
	hash  uint64
	rest  uint32 // nanoseconds into the second, and which of the others count
}

const (
	singleValue uint32 = 1 << 31
	singleHash  uint32 = 1 << 30
	singleNanos        = singleHash - 1
)

// Single is a without loss, when it is of one observation in that Unix second.
func (a *Agg) Single(second int64) (s Single, ok bool) {
	if a.Count != 1 || a.Values > 1 || a.form&explicit != 0 || (a.form&hasValues != 0) != (a.Values == 1) {
		return s, false
	}
	if a.Values == 1 {
		bits := math.Float64bits(a.Min)
		into := a.LastAt - second*1e9
		if into < 0 || into >= 1e9 || math.Float64bits(a.Sum) != bits || math.Float64bits(a.Max) != bits || math.Float64bits(a.Last) != bits {
			return s, false
		}
		s.value, s.rest = a.Min, uint32(into)|singleValue
	}
	if a.form&hasHash != 0 {
		s.hash = a.hash
		s.rest |= singleHash
	}
	return s, true
}

// Agg is the aggregate that s was made of.
func (s *Single) Agg(second int64) Agg {
	a := Agg{Count: 1}
	if s.rest&singleValue != 0 {
		v := s.value
		a.Values, a.Sum, a.Min, a.Max, a.Last, a.form = 1, v, v, v, v, hasValues
		a.LastAt = second*1e9 + int64(s.rest&singleNanos)
	}
	if s.rest&singleHash != 0 {
		a.hash = s.hash
		a.form |= hasHash
	}
	return a
}
