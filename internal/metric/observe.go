package metric

import (
	"encoding/binary"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/cespare/xxhash/v2"

	"github.com/pulsestream/pulsestream/internal/series"
)

const (
	maxDimensionBytes = 256
	// otherTwin stands for a dimension value that happens to be series.OtherValue.
	otherTwin = "_other_"
	// maxRemembered is how many labels, and values of dimensions, a document remembers.
	maxRemembered = 4096
)

// Observe says what the event of d, which must be of a type that the metric is about, adds to which series; false when it
// adds nothing: the filter does not hold or fails, or the value fails or is neither a finite number nor a text. The labels
// are shared: they must not be changed.
func (p *Program) Observe(d *Doc) (series.Labels, series.Observation, bool) {
	d.scratch = d.scratch[:0]
	o := series.Observation{At: d.ev.Time}
	if p.filter != nil && !p.filter.eval(d).isTrue() {
		return nil, o, false
	}
	switch {
	case p.value != nil:
		if !observeValue(&o, p.value.eval(d)) {
			return nil, o, false
		}
	case d.ev.Subject != "":
		o.Distinct, o.HasDistinct = xxhash.Sum64String(d.ev.Subject), true
	}
	return p.labels(d), o, true
}

// observeValue takes a number as it is, a condition as 1 or 0 (its average is a share), a duration in seconds, and a text
// only for counting distinct ones.
func observeValue(o *series.Observation, v value) bool {
	switch v.kind {
	case kindString:
		o.Distinct, o.HasDistinct = xxhash.Sum64(v.text), true
		return true
	case kindDouble, kindSeconds:
		o.Value = v.double()
	case kindInt:
		o.Value = float64(v.int())
	case kindBool:
		o.Value = float64(v.bits)
	default:
		return false
	}
	o.Value += 0 // -0 becomes 0
	if math.IsNaN(o.Value) || math.IsInf(o.Value, 0) {
		return false
	}
	o.Numeric = true
	o.Distinct, o.HasDistinct = hashNumber(o.Value), true
	return true
}

// hashNumber spreads a number over 64 bits (the finalizer of MurmurHash3), the same for the same number for ever.
func hashNumber(f float64) uint64 {
	h := math.Float64bits(f) ^ 0x9e3779b97f4a7c15
	h = (h ^ h>>33) * 0xff51afd7ed558ccd
	h = (h ^ h>>33) * 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}

// labels evaluates the dimensions. Labels seen before come from the document's memory.
func (p *Program) labels(d *Doc) series.Labels {
	if len(p.dimensions) == 0 {
		return nil
	}
	d.key = d.key[:0]
	for _, e := range p.dimensions {
		at := len(d.key)
		d.key = append(d.key, 0, 0, 0, 0)
		d.key = appendDimension(d.key, e.eval(d))
		if len(d.key)-at-4 > maxDimensionBytes {
			d.key = d.key[:at+4+runeCut(d.key[at+4:], maxDimensionBytes)]
		}
		binary.BigEndian.PutUint32(d.key[at:], offset(len(d.key)-at-4))
	}
	if l, ok := d.labels[string(d.key)]; ok {
		return l
	}
	return d.remember(d.key)
}

func (d *Doc) remember(key []byte) series.Labels {
	if d.labels == nil || len(d.labels) >= maxRemembered {
		d.labels = make(map[string]series.Labels)
	}
	if d.dimensions == nil || len(d.dimensions) >= maxRemembered {
		d.dimensions = make(map[string]string)
	}
	var l series.Labels
	for rest := key; len(rest) > 0; {
		n := 4 + binary.BigEndian.Uint32(rest)
		l = append(l, d.dimension(rest[4:n]))
		rest = rest[n:]
	}
	d.labels[string(key)] = l
	return l
}

// dimension makes a label of a text. U+0000, which PostgreSQL cannot store, and what is not UTF-8 become U+FFFD.
func (d *Doc) dimension(b []byte) string {
	if s, ok := d.dimensions[string(b)]; ok {
		return s
	}
	s := strings.ToValidUTF8(strings.ReplaceAll(string(b), "\x00", "\uFFFD"), "\uFFFD")
	s = s[:runeCut([]byte(s), maxDimensionBytes)]
	if s == series.OtherValue {
		s = otherTwin
	}
	d.dimensions[string(b)] = s
	return s
}

// runeCut is where to cut b so that at most n bytes remain and no character is cut through.
func runeCut(b []byte, n int) int {
	if len(b) <= n {
		return len(b)
	}
	for i := n; i > n-utf8.UTFMax; i-- {
		if utf8.RuneStart(b[i]) {
			return i
		}
	}
	return n
}

// appendDimension writes a dimension's value: a text as it is, numbers and conditions in one canonical form, and nothing for
// what is missing or is neither.
func appendDimension(dst []byte, v value) []byte {
	switch v.kind {
	case kindString:
		return append(dst, v.text...)
	case kindBool:
		return strconv.AppendBool(dst, v.bits == 1)
	case kindInt:
		return strconv.AppendInt(dst, v.int(), 10)
	case kindDouble:
		return appendNumber(dst, v.double())
	}
	return dst
}

// appendNumber writes a number as JSON would: 5 rather than 5.0, with an exponent only when it is very large or small.
func appendNumber(dst []byte, f float64) []byte {
	magnitude := math.Abs(f)
	switch {
	case math.IsNaN(f) || math.IsInf(f, 0):
		return dst
	case magnitude < 1<<53 && f == math.Trunc(f):
		return strconv.AppendInt(dst, int64(f), 10)
	case magnitude < 1e-6 || magnitude >= 1e21:
		dst = strconv.AppendFloat(dst, f, 'e', -1, 64)
		if n := len(dst); dst[n-4] == 'e' && dst[n-3] == '-' && dst[n-2] == '0' { // 1e-07 is 1e-7
			dst = append(dst[:n-2], dst[n-1])
		}
		return dst
	}
	return strconv.AppendFloat(dst, f, 'f', -1, 64)
}
