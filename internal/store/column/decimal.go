package column

import (
	"math"
	"strconv"
)

const (
	maxDigits = 18   // that are sure to fit into an int64
	maxNumber = 1e18 // above all numbers of so many digits
	maxScale  = 22   // digits behind the point
)

// affixes is how many bytes all texts begin with alike, and end with alike behind those.
func (t *Texts) affixes() (prefix, suffix int) {
	n := t.entries()
	first := t.entry(0)
	prefix, suffix = len(first), len(first)
	least := len(first)
	for i := n - 1; i > 0 && prefix+suffix > 0; i-- { // neighbours are often alike: begin at the other end
		text := t.entry(i)
		least = min(least, len(text))
		prefix = min(prefix, least)
		for j := range prefix {
			if text[j] != first[j] {
				prefix = j
				break
			}
		}
		suffix = min(suffix, least)
		for j := 1; j <= suffix; j++ {
			if text[len(text)-j] != first[len(first)-j] {
				suffix = j - 1
				break
			}
		}
	}
	return prefix, min(suffix, least-prefix)
}

// numeric says whether c can stand in a decimal number.
func numeric(c byte) bool { return c-'0' <= 9 || c == '-' || c == '.' }

// appendDecimals writes texts that are decimal numbers between a prefix and a suffix, if they are such.
func (e *Encoder) appendDecimals(dst []byte, values *Texts, prefix, suffix int) ([]byte, bool) {
	n := values.entries()
	first := values.entry(0)
	for prefix > 0 && numeric(first[prefix-1]) {
		prefix--
	}
	for suffix > 0 && numeric(first[len(first)-suffix]) {
		suffix--
	}
	e.ints, e.more = grown(e.ints, n), grown(e.more, n)
	for i := range n {
		text := values.entry(i)
		v, scale, ok := parseDecimal(text[prefix : len(text)-suffix])
		if !ok {
			return dst, false
		}
		e.ints[i], e.more[i] = v, int64(scale)
	}
	dst = append(dst, textsDecimal)
	dst = appendSized(dst, first[:prefix])
	dst = appendSized(dst, first[len(first)-suffix:])
	dst, at := begin(dst)
	dst = end(AppendInts(dst, e.more), at)
	return AppendInts(dst, e.ints), true
}

// parseDecimal reads a number that appendDecimal writes in just the same way: its digits, and how many are behind the point.
func parseDecimal(b []byte) (v int64, scale int, ok bool) {
	negative := len(b) > 0 && b[0] == '-'
	if negative {
		b = b[1:]
	}
	if len(b) == 0 || len(b) > maxScale+2 || b[0] == '0' && len(b) > 1 && b[1] != '.' {
		return 0, 0, false
	}
	point := -1
	for i, c := range b {
		if d := c - '0'; d <= 9 {
			if v >= maxNumber/10 {
				return 0, 0, false
			}
			v = v*10 + int64(d)
			continue
		}
		if c != '.' || point >= 0 || i == 0 || i == len(b)-1 {
			return 0, 0, false
		}
		point = i
	}
	if point >= 0 {
		scale = len(b) - 1 - point
	}
	if negative {
		v = -v
	}
	return v, scale, !negative || v != 0
}

// appendDecimal writes v with scale digits behind the point, which is left out where there are none.
func appendDecimal(dst []byte, v int64, scale int) []byte {
	if scale == 0 {
		return strconv.AppendInt(dst, v, 10)
	}
	u := uint64(v) //nolint:gosec // the bits are meant
	if v < 0 {
		dst, u = append(dst, '-'), -u
	}
	var room [maxScale]byte
	digits := strconv.AppendUint(room[:0], u, 10)
	if len(digits) > scale {
		dst = append(dst, digits[:len(digits)-scale]...)
		dst = append(dst, '.')
		return append(dst, digits[len(digits)-scale:]...)
	}
	dst = append(dst, '0', '.')
	for range scale - len(digits) {
		dst = append(dst, '0')
	}
	return append(dst, digits...)
}

// decimals reads texts that are decimal numbers between a prefix and a suffix.
func (d *Decoder) decimals(dst *Texts, r *reader, n int) error {
	prefix, suffix, err := d.readDecimals(r, n)
	if err != nil {
		return err
	}
	if (len(prefix)+len(suffix)+maxScale+4)*n > MaxBytes {
		return corrupt("texts are too long")
	}
	data := dst.data[:0]
	dst.ends = grown(dst.ends, n+1)
	dst.ends[0] = 0
	for i, v := range d.ints {
		data = append(data, prefix...)
		data = appendDecimal(data, v, int(d.more[i]))
		data = append(data, suffix...)
		dst.ends[i+1] = uint32(len(data)) //nolint:gosec // at most MaxBytes
	}
	dst.data = data
	return nil
}

// readDecimals leaves the digits in d.ints, and how many are behind the point in d.more.
func (d *Decoder) readDecimals(r *reader, n int) (prefix, suffix []byte, err error) {
	prefix, suffix = r.sized(), r.sized()
	scales := r.part()
	if r.failed {
		return nil, nil, corrupt("decimal numbers")
	}
	if d.more, err = DecodeInts(d.more, scales, n); err != nil {
		return nil, nil, err
	}
	for _, scale := range d.more {
		if scale < 0 || scale > maxScale {
			return nil, nil, corrupt("digits behind the point")
		}
	}
	d.ints, err = DecodeInts(d.ints, r.src, n)
	return prefix, suffix, err
}

// Floats reads a column of n texts as numbers into the memory of dst, if it holds nothing but decimal numbers in a form of their own.
// They are what strconv.ParseFloat makes of the texts. For other columns it reports false.
func (d *Decoder) Floats(dst []float64, src []byte, n int) (values []float64, decimal bool, err error) {
	r := reader{src: src}
	if r.byte() != textsDecimal || r.failed {
		return dst[:0], false, nil
	}
	if n < 0 || n > MaxRows {
		return dst[:0], false, corrupt("too many rows")
	}
	prefix, suffix, err := d.readDecimals(&r, n)
	if err != nil || len(prefix)+len(suffix) > 0 {
		return dst[:0], false, err
	}
	dst = grown(dst, n)
	powers := powersOfTen()
	for i, v := range d.ints {
		dst[i] = float64(v)
		if scale := d.more[i]; scale != 0 {
			if v > -1<<53 && v < 1<<53 { // both are exact then, and so is the quotient's rounding
				dst[i] /= powers[scale]
			} else {
				dst[i] = parseFloat(v, int(scale))
			}
		}
	}
	return dst, true, nil
}

// powersOfTen are those that a float64 holds exactly.
func powersOfTen() (p [maxScale + 1]float64) {
	p[0] = 1
	for i := 1; i < len(p); i++ {
		p[i] = p[i-1] * 10
	}
	return p
}

func parseFloat(v int64, scale int) float64 {
	var room [maxScale + 4]byte
	f, err := strconv.ParseFloat(string(appendDecimal(room[:0], v, scale)), 64)
	if err != nil { // no number of so few digits is out of range
		return math.NaN()
	}
	return f
}
