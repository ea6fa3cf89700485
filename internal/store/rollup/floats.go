package rollup

import (
	"math"

	"github.com/pulsestream/pulsestream/internal/store/column"
)

// Most numbers are decimal ones with few digits, or sums of such: the nearest decimal number, and how many floating-point numbers lie between, which
// are few. A column has one scale, so that both parts are small numbers. Others stay as their bits.

const (
	rawFloats = 0xff
	maxScale  = 6
	exact     = 1 << 53
	// nearby is how far from a decimal number a sum is expected to be, by numbers between.
	nearby = 1 << 10
)

func powers() [maxScale + 1]float64 { return [...]float64{1, 10, 100, 1e3, 1e4, 1e5, 1e6} }

// decimal is the decimal number near v, in units of 1/power, and v's distance from it.
func decimal(v, power float64) (units, between int64) {
	if u := math.Round(v * power); u > -exact && u < exact { // false for what is no number
		units = int64(u)
	}
	return units, int64(math.Float64bits(v) - math.Float64bits(float64(units)/power)) //nolint:gosec // modulo 2⁶⁴, and comes back
}

// scaleOf is the number of digits behind the point that is enough for nearly all of a sample.
func scaleOf(values []float64) int {
	p := powers()
	step := max(1, len(values)/64)
	for scale := range p {
		odd, n := 0, 0
		for i := 0; i < len(values); i += step {
			if _, between := decimal(values[i], p[scale]); between < -nearby || between > nearby {
				odd++
			}
			n++
		}
		if odd <= n/32 {
			return scale
		}
	}
	return rawFloats
}

// floats encodes columns of floating-point numbers; it keeps its memory.
type floats struct{ units, between []int64 }

func (f *floats) append(dst []byte, values []float64) []byte {
	f.units, f.between = f.units[:0], f.between[:0]
	scale := scaleOf(values)
	start := len(dst)
	if scale != rawFloats {
		power := powers()[scale]
		for _, v := range values {
			u, b := decimal(v, power)
			f.units, f.between = append(f.units, u), append(f.between, b)
		}
		dst = append(dst, byte(scale)) //nolint:gosec // at most maxScale
		dst = appendPart(dst, func(dst []byte) []byte { return column.AppendInts(dst, f.units) })
		if dst = column.AppendInts(dst, f.between); len(dst)-start <= 8*len(values)+16 {
			return dst
		}
		f.units = f.units[:0]
	}
	for _, v := range values {
		f.units = append(f.units, int64(math.Float64bits(v))) //nolint:gosec // the bits are meant
	}
	return column.AppendInts(append(dst[:start], rawFloats), f.units)
}

// decode reads a column of n numbers into the memory of dst.
func (f *floats) decode(dst []float64, src []byte, n int) ([]float64, error) {
	r := parts{src: src}
	scale := r.byte()
	var err error
	if scale == rawFloats {
		if f.units, err = column.DecodeInts(f.units, r.src, n); err != nil {
			return nil, err
		}
		dst = grown(dst, n)
		for i, u := range f.units {
			dst[i] = math.Float64frombits(uint64(u)) //nolint:gosec // likewise
		}
		return dst, nil
	}
	units := r.part()
	if r.bad || scale > maxScale {
		return nil, errCorrupt
	}
	if f.units, err = column.DecodeInts(f.units, units, n); err != nil {
		return nil, err
	}
	if f.between, err = column.DecodeInts(f.between, r.src, n); err != nil {
		return nil, err
	}
	power := powers()[scale]
	dst = grown(dst, n)
	for i, u := range f.units {
		dst[i] = math.Float64frombits(math.Float64bits(float64(u)/power) + uint64(f.between[i])) //nolint:gosec // wraps back
	}
	return dst, nil
}
