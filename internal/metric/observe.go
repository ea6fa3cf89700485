package metric

import (
	"bytes"
	"encoding/binary"
	"math"
	"slices"
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
	// maxRemembered is how many labels a document remembers.
	maxRemembered = 4096
)

// Observe says what the event of d, which must be of a type that the metric is about, adds to which series; false when it
// adds nothing: the filter does not hold or fails, or the value fails or is neither a finite number nor a text. The labels
// are shared: they must not be changed.
func (p *Program) Observe(d *Doc) (series.Labels, series.Observation, bool) {
	o := series.Observation{At: d.ev.Time}
	d.keys = d.keys[:0]
	if !p.observe(d, &o) {
		return nil, o, false
	}
	if len(p.dimensions) == 0 {
		return nil, o, true
	}
	l, ok := d.labels[string(d.keys)]
	if !ok {
		if d.labels == nil || len(d.labels) >= maxRemembered {
			d.labels = make(map[string]series.Labels)
		}
		l = series.LabelsOf(string(d.keys), len(p.dimensions))
		d.labels[string(d.keys)] = l
	}
	return l, o, true
}

// observe appends the key of the series to the document's.
func (p *Program) observe(d *Doc, o *series.Observation) bool {
	d.scratch = d.scratch[:0]
	if p.filter != nil && !p.filter.holds(d) {
		return false
	}
	switch {
	case p.value != nil:
		if v, ok := p.value.double(d); ok {
			if !observeNumber(o, v) {
				return false
			}
		} else if !observeValue(o, p.value.eval(d)) {
			return false
		}
	case d.ev.Subject != "":
		o.Distinct, o.HasDistinct = xxhash.Sum64String(d.ev.Subject), true
	}
	if len(p.dimensions) == 1 {
		d.keys = p.dimensions[0].appendTo(d.keys, d)
		return true
	}
	for _, e := range p.dimensions { // as series.Labels.Key has it
		at := len(d.keys)
		d.keys = e.appendTo(append(d.keys, 0, 0, 0, 0), d)
		binary.BigEndian.PutUint32(d.keys[at:], offset(len(d.keys)-at-4))
	}
	return true
}

// observeValue takes a number as it is, a condition as 1 or 0 (its average is a share), a duration in seconds, and a text
// only for counting distinct ones.
func observeValue(o *series.Observation, v value) bool {
	switch v.kind {
	case kindString:
		o.Distinct, o.HasDistinct = xxhash.Sum64(v.text), true
		return true
	case kindDouble, kindSeconds:
		return observeNumber(o, v.double())
	case kindInt:
		return observeNumber(o, float64(v.int()))
	case kindBool:
		return observeNumber(o, float64(v.bits))
	}
	return false
}

func observeNumber(o *series.Observation, v float64) bool {
	v += 0 // -0 becomes 0
	if v-v != 0 {
		return false // it is infinite or not a number
	}
	o.Value, o.Numeric = v, true
	o.Distinct, o.HasDistinct = hashNumber(v), true
	return true
}

// hashNumber spreads a number over 64 bits (the finalizer of MurmurHash3), the same for the same number for ever.
func hashNumber(f float64) uint64 {
	h := math.Float64bits(f) ^ 0x9e3779b97f4a7c15
	h = (h ^ h>>33) * 0xff51afd7ed558ccd
	h = (h ^ h>>33) * 0xc4ceb9fe1a85ec53
	return h ^ h>>33
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

// appendTo appends the expression's value as a dimension.
func (e *expression) appendTo(dst []byte, d *Doc) []byte {
	switch {
	case d.local != nil && e.data != none && e.apply == nil:
		if v := &d.slots[d.local[e.data]]; v.kind == kindString {
			return appendText(dst, v.text)
		}
	case e.attribute != "":
		at := len(dst)
		dst = append(dst, d.attribute(e.attribute)...)
		if text := dst[at:]; len(text) > maxDimensionBytes || !labelText(text) {
			return appendText(dst[:at], slices.Clone(text))
		}
		return dst
	}
	return appendDimension(dst, e.eval(d))
}

// labelText says that a text is a label as it stands: it is UTF-8 without U+0000, and not the label of what was folded.
func labelText(text []byte) bool {
	for i, c := range text {
		if c-1 >= utf8.RuneSelf-1 {
			return bytes.IndexByte(text[i:], 0) < 0 && utf8.Valid(text) && string(text) != series.OtherValue
		}
	}
	return len(text) != len(series.OtherValue) || string(text) != series.OtherValue
}

// OwnLabel says whether a label is only written for a text that is the label itself: others are cut, or have something replaced.
func OwnLabel(label string) bool {
	return len(label) < maxDimensionBytes-utf8.UTFMax && label != otherTwin && !strings.ContainsRune(label, utf8.RuneError) && labelText([]byte(label))
}

// appendDimension writes a dimension's value: a text as it is, numbers and conditions in one canonical form, and nothing for
// what is missing or is neither.
func appendDimension(dst []byte, v value) []byte {
	switch v.kind {
	case kindString:
		return appendText(dst, v.text)
	case kindBool:
		return strconv.AppendBool(dst, v.bits == 1)
	case kindInt:
		return strconv.AppendInt(dst, v.int(), 10)
	case kindDouble:
		return appendNumber(dst, v.double())
	}
	return dst
}

// appendText writes a text as a label. U+0000, which PostgreSQL cannot store, and what is not UTF-8 become U+FFFD.
func appendText(dst, text []byte) []byte {
	text = text[:runeCut(text, maxDimensionBytes)]
	switch {
	case labelText(text):
		return append(dst, text...)
	case string(text) == series.OtherValue:
		return append(dst, otherTwin...)
	}
	s := strings.ToValidUTF8(strings.ReplaceAll(string(text), "\x00", "\uFFFD"), "\uFFFD")
	return append(dst, s[:runeCut([]byte(s), maxDimensionBytes)]...)
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
