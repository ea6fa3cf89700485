// Package series holds what charts are made of: aggregates that merge in any order, steps of time, labels, points.
package series

import (
	"encoding/binary"
	"errors"
	"math"
	"time"
)

// Observation is what one event adds to a series.
type Observation struct {
	At time.Time
	// Value is the number; it counts only when Numeric.
	Value   float64
	Numeric bool
	// Distinct is a hash of what unique counts; it counts only when HasDistinct.
	Distinct    uint64
	HasDistinct bool
}

// Agg aggregates observations. Aggregates merge commutatively and associatively (sums up to floating-point rounding), so
// late events and partial results just merge. The zero value is empty and ready. It is not safe for concurrent use, reading
// included (Unique and Sketches may compact), unless it was frozen.
//
// Nearly all aggregates that are held at a time, by live charts above all, are of one observation or a few equal ones. Such
// a one has no sketches: they follow from Min, Values and one hash.
type Agg struct {
	Count  uint64 // observations
	Values uint64 // those with a number; Sum, Min, Max, Last and the quantiles are about these
	Sum    float64
	Min    float64
	Max    float64
	Last   float64
	LastAt int64 // Unix nanoseconds of Last
	hash   uint64
	sk     *sketches
	form   form
}

// form says where the sketches of an aggregate are.
type form uint8

const (
	hasHash   form = 1 << iota // hash is the only distinct one
	hasValues                  // all that quantiles are about are Values times Min
	explicit                   // sk has the sketches, the other two don't count; without it, sk is only kept for its memory
	withQuant                  // of an explicit one: there is a quantile sketch
)

// sketches are what can't be told in a few numbers.
type sketches struct {
	quant  Quantiles
	unique distinct
}

func (s *sketches) reset() {
	s.quant.reset()
	s.unique.reset()
}

// Reset makes a empty again, and keeps its memory.
func (a *Agg) Reset() {
	if a.form&explicit != 0 {
		a.sk.reset()
	}
	*a = Agg{sk: a.sk}
}

// spell makes the sketches explicit.
func (a *Agg) spell() *sketches {
	if a.form&explicit != 0 {
		return a.sk
	}
	if a.sk == nil {
		a.sk = &sketches{}
	}
	was := a.form
	a.form = explicit
	if was&hasValues != 0 {
		a.form |= withQuant
		a.sk.quant.addTimes(a.Min, a.Values)
	}
	if was&hasHash != 0 {
		a.sk.unique.add(a.hash)
	}
	return a.sk
}

// Add counts one observation.
func (a *Agg) Add(o Observation) { a.AddAt(&o, o.At.UnixNano()) }

// AddAt is Add with the time in Unix nanoseconds, for a caller that knows it; o.At doesn't count.
func (a *Agg) AddAt(o *Observation, at int64) {
	if o.HasDistinct && (a.form&hasHash == 0 || a.hash != o.Distinct) {
		if a.form&(hasHash|explicit) == 0 {
			a.hash = o.Distinct
			a.form |= hasHash
		} else {
			a.spell().unique.add(o.Distinct)
		}
	}
	a.Count++
	if !o.Numeric {
		return
	}
	v := o.Value
	switch {
	case a.form&explicit != 0:
		a.form |= withQuant
		a.sk.quant.Add(v)
	case a.form&hasValues != 0 && v == a.Min:
	case a.form&hasValues == 0 && a.Values == 0:
		a.form |= hasValues
	default:
		a.spell().quant.Add(v)
		a.form |= withQuant
	}
	if a.Values == 0 {
		a.Values, a.Sum, a.Min, a.Max, a.Last, a.LastAt = 1, v, v, v, v, at
		return
	}
	a.Values++
	a.Sum += v
	a.Min, a.Max = min(a.Min, v), max(a.Max, v)
	a.last(v, at)
}

// last keeps the newest value; of two at the same instant the larger, so that merging stays commutative.
func (a *Agg) last(v float64, at int64) {
	if at > a.LastAt || at == a.LastAt && v > a.Last {
		a.Last, a.LastAt = v, at
	}
}

// Merge adds all that b has seen.
func (a *Agg) Merge(b *Agg) {
	a.mergeSketches(b)
	a.mergeScalars(b)
}

// MergeScalars adds all that b has seen but what the sketches are about: the result has no quantiles and no number of distinct
// values beyond those it had.
func (a *Agg) MergeScalars(b *Agg) {
	if b.Values > 0 && a.form&hasValues != 0 {
		a.spell()
	}
	a.mergeScalars(b)
}

func (a *Agg) mergeScalars(b *Agg) {
	a.Count += b.Count
	if b.Values == 0 {
		return
	}
	if a.Values == 0 {
		a.Min, a.Max, a.Last, a.LastAt = b.Min, b.Max, b.Last, b.LastAt
	}
	a.Values += b.Values
	a.Sum += b.Sum
	a.Min, a.Max = min(a.Min, b.Min), max(a.Max, b.Max)
	a.last(b.Last, b.LastAt)
}

// mergeSketches comes before the scalars are merged, since what is implied follows from them.
func (a *Agg) mergeSketches(b *Agg) {
	if b.Values > 0 && a.form&hasValues != 0 && b.form&hasValues == 0 {
		a.spell()
	}
	if b.form&explicit != 0 {
		if b.form&withQuant != 0 || !b.sk.unique.empty() {
			s := a.spell()
			s.unique.merge(&b.sk.unique)
			s.quant.Merge(&b.sk.quant)
			a.form |= b.form & withQuant
		}
		return
	}
	if b.form&hasHash != 0 && (a.form&hasHash == 0 || a.hash != b.hash) {
		if a.form&(hasHash|explicit) == 0 {
			a.hash = b.hash
			a.form |= hasHash
		} else {
			a.spell().unique.add(b.hash)
		}
	}
	if b.form&hasValues == 0 {
		return
	}
	switch {
	case a.form&explicit != 0:
		a.form |= withQuant
		a.sk.quant.addTimes(b.Min, b.Values)
	case a.form&hasValues != 0 && a.Min == b.Min:
	case a.form&hasValues == 0 && a.Values == 0:
		a.form |= hasValues
	default:
		a.spell().quant.addTimes(b.Min, b.Values)
		a.form |= withQuant
	}
}

// Clone is a copy that shares nothing.
func (a *Agg) Clone() *Agg {
	c := &Agg{}
	c.Merge(a)
	return c
}

// Freeze makes reading a safe for any number of goroutines, and copies of it (b := *a) that share its memory sound, as long as
// none of them is added to, merged into or reset.
func (a *Agg) Freeze() {
	if a.form&explicit != 0 {
		a.sk.unique.settle()
	}
}

// Unique estimates the number of distinct values (HyperLogLog, standard error 0.8 %; exact for small numbers).
func (a *Agg) Unique() uint64 {
	switch {
	case a.form&explicit != 0:
		return a.sk.unique.estimate()
	case a.form&hasHash != 0:
		return 1
	}
	return 0
}

// Quantile estimates the q-quantile (0 to 1) within 1 % of its value, and never outside [Min, Max].
func (a *Agg) Quantile(q float64) (float64, bool) {
	switch {
	case a.form&hasValues != 0:
		return a.Min, true
	case a.form&withQuant == 0:
		return 0, false
	}
	return math.Max(a.Min, math.Min(a.Max, a.sk.quant.At(q))), true
}

// ErrSketch is returned for bytes that are not an encoded sketch.
var ErrSketch = errors.New("not an encoded sketch")

// Sketches encodes what SQL cannot merge: the quantile and the distinct-count sketch. Nil when there are neither.
func (a *Agg) Sketches() []byte { return a.AppendSketches(nil) }

// AppendSketches appends Sketches to dst: nothing when there are none.
func (a *Agg) AppendSketches(dst []byte) []byte {
	if a.form&explicit == 0 {
		return a.appendImplied(dst)
	}
	s := a.sk
	if a.form&withQuant == 0 && s.unique.empty() {
		return dst
	}
	dst = binary.AppendUvarint(dst, uint64(s.unique.size())) //nolint:gosec // a length
	dst = s.unique.append(dst)
	if a.form&withQuant != 0 {
		dst = s.quant.append(dst)
	}
	return dst
}

func (a *Agg) appendImplied(dst []byte) []byte {
	if a.form == 0 {
		return dst
	}
	if a.form&hasHash != 0 {
		dst = append(dst, 9, tagFew)
		dst = binary.BigEndian.AppendUint64(dst, a.hash)
	} else {
		dst = append(dst, 0)
	}
	if a.form&hasValues != 0 {
		var one [1]bucket
		q := Quantiles{}
		switch {
		case a.Min > tiny:
			one[0] = bucket{index(a.Min), a.Values}
			q.positive = one[:]
		case a.Min < -tiny:
			one[0] = bucket{index(-a.Min), a.Values}
			q.negative = one[:]
		default:
			q.zero = a.Values
		}
		dst = q.append(dst)
	}
	return dst
}

// SetSketches is the opposite of Sketches. After an error there are no sketches.
func (a *Agg) SetSketches(b []byte) error {
	a.sk, a.form = nil, 0
	if len(b) == 0 {
		return nil
	}
	n, k := binary.Uvarint(b)
	if k <= 0 || n > uint64(len(b)-k) { //nolint:gosec // k is within len(b)
		return ErrSketch
	}
	unique, err := decodeDistinct(b[k : k+int(n)]) //nolint:gosec // n is within len(b)
	if err != nil {
		return err
	}
	s, found := &sketches{unique: unique}, explicit
	if rest := b[k+int(n):]; len(rest) > 0 { //nolint:gosec // n is within len(b)
		if s.quant, err = decodeQuantiles(rest); err != nil {
			return err
		}
		found |= withQuant
	}
	a.sk, a.form = s, found
	return nil
}
