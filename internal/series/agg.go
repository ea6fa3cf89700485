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
// included: Unique and Sketches may compact.
type Agg struct {
	Count  uint64 // observations
	Values uint64 // those with a number; Sum, Min, Max, Last and the quantiles are about these
	Sum    float64
	Min    float64
	Max    float64
	Last   float64
	LastAt int64 // Unix nanoseconds of Last
	quant  *Quantiles
	unique distinct
}

// Add counts one observation.
func (a *Agg) Add(o Observation) {
	a.Count++
	if o.HasDistinct {
		a.unique.add(o.Distinct)
	}
	if !o.Numeric {
		return
	}
	at := o.At.UnixNano()
	if a.Values == 0 {
		a.Min, a.Max, a.Last, a.LastAt = o.Value, o.Value, o.Value, at
	}
	a.Values++
	a.Sum += o.Value
	a.Min, a.Max = math.Min(a.Min, o.Value), math.Max(a.Max, o.Value)
	a.last(o.Value, at)
	if a.quant == nil {
		a.quant = &Quantiles{}
	}
	a.quant.Add(o.Value)
}

// last keeps the newest value; of two at the same instant the larger, so that merging stays commutative.
func (a *Agg) last(v float64, at int64) {
	if at > a.LastAt || at == a.LastAt && v > a.Last {
		a.Last, a.LastAt = v, at
	}
}

// Merge adds all that b has seen.
func (a *Agg) Merge(b *Agg) {
	a.Count += b.Count
	a.unique.merge(&b.unique)
	if b.Values == 0 {
		return
	}
	if a.Values == 0 {
		a.Min, a.Max, a.Last, a.LastAt = b.Min, b.Max, b.Last, b.LastAt
	}
	a.Values += b.Values
	a.Sum += b.Sum
	a.Min, a.Max = math.Min(a.Min, b.Min), math.Max(a.Max, b.Max)
	a.last(b.Last, b.LastAt)
	if b.quant != nil {
		if a.quant == nil {
			a.quant = &Quantiles{}
		}
		a.quant.Merge(b.quant)
	}
}

// Clone is a copy that shares nothing.
func (a *Agg) Clone() *Agg {
	c := &Agg{}
	c.Merge(a)
	return c
}

// Unique estimates the number of distinct values (HyperLogLog, standard error 0.8 %; exact for small numbers).
func (a *Agg) Unique() uint64 { return a.unique.estimate() }

// Quantile estimates the q-quantile (0 to 1) within 1 % of its value, and never outside [Min, Max].
func (a *Agg) Quantile(q float64) (float64, bool) {
	if a.quant == nil {
		return 0, false
	}
	return math.Max(a.Min, math.Min(a.Max, a.quant.At(q))), true
}

// ErrSketch is returned for bytes that are not an encoded sketch.
var ErrSketch = errors.New("not an encoded sketch")

// Sketches encodes what SQL cannot merge: the quantile and the distinct-count sketch. Nil when there are neither.
func (a *Agg) Sketches() []byte {
	if a.quant == nil && a.unique.empty() {
		return nil
	}
	u := a.unique.append(nil)
	out := append(binary.AppendUvarint(make([]byte, 0, len(u)+64), uint64(len(u))), u...)
	if a.quant != nil {
		out = a.quant.append(out)
	}
	return out
}

// SetSketches is the opposite of Sketches. After an error there are no sketches.
func (a *Agg) SetSketches(b []byte) error {
	a.quant, a.unique = nil, distinct{}
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
	if rest := b[k+int(n):]; len(rest) > 0 { //nolint:gosec // n is within len(b)
		if a.quant, err = decodeQuantiles(rest); err != nil {
			return err
		}
	}
	a.unique = unique
	return nil
}
