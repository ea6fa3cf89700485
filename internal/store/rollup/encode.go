package rollup

import (
	"encoding/binary"
	"math"

	"github.com/pulsestream/pulsestream/internal/series"
	"github.com/pulsestream/pulsestream/internal/store/column"
)

const (
	// blockRows is how many rows a block has at most.
	blockRows = 8192
	// blockKeys distinct values end a block too: rows of a busy minute have thousands, one at most rowKeys, and readers up to 2026-11 took column.MaxRows.
	blockKeys = column.MaxRows - rowKeys
	rowKeys   = 16 << 10
	// blockBytes of sketches of one kind do as well. A column of texts has at most column.MaxBytes.
	blockBytes = column.MaxBytes / 4
	// maxLabels is how many labels a series has at most.
	maxLabels = 250
)

// encoder makes a block of rows that come in order of their starts. It keeps its memory.
type encoder struct {
	columns *column.Encoder
	floats  floats

	codes  map[string]uint32 // of series, by their labels
	labels []series.Labels   // by code
	rows   []row
	quant  column.Texts // by row
	unique distinctRows

	order  []int32 // rows by series
	starts []int32
	ints   []int64
	nums   []float64
	text   column.Texts
	key    []byte
	buf    []byte
}

// row is the numbers of a rollup.
type row struct {
	code          uint32
	start         int64
	count, values uint64
	sum, min, max float64
	last          float64
	lastAt        int64
}

func newEncoder() *encoder {
	return &encoder{columns: column.NewEncoder(), codes: map[string]uint32{}, buf: make([]byte, 0, 64)}
}

func (e *encoder) reset() {
	clear(e.codes)
	clear(e.labels)
	e.labels, e.rows = e.labels[:0], e.rows[:0]
	e.quant.Reset()
	e.unique.reset()
}

// add takes a row in. Labels are kept until reset.
func (e *encoder) add(start int64, labels series.Labels, a *series.Agg) {
	e.key = appendKey(e.key[:0], labels)
	code, ok := e.codes[string(e.key)]
	if !ok {
		code = uint32(len(e.labels)) //nolint:gosec // at most blockRows
		e.codes[string(e.key)] = code
		e.labels = append(e.labels, labels)
	}
	e.rows = append(e.rows, row{code, start, a.Count, a.Values, a.Sum, a.Min, a.Max, a.Last, a.LastAt})
	e.buf = a.AppendQuantiles(e.buf[:0])
	e.quant.Append(e.buf)
	e.unique.add(a)
}

// full says that the next row is to begin another block.
func (e *encoder) full() bool {
	return len(e.rows) >= blockRows || e.quant.Bytes() >= blockBytes || e.unique.full()
}

// appendKey appends what tells series apart.
func appendKey(key []byte, labels series.Labels) []byte {
	for _, l := range labels {
		key = append(binary.AppendUvarint(key, uint64(len(l))), l...)
	}
	return key
}

func appendLabel(key, label []byte) []byte {
	return append(binary.AppendUvarint(key, uint64(len(label))), label...)
}

// bounds are the first and the last start.
func (e *encoder) bounds() (first, last int64) {
	first, last = e.rows[0].start, e.rows[0].start
	for i := range e.rows {
		first, last = min(first, e.rows[i].start), max(last, e.rows[i].start)
	}
	return first, last
}

// sort puts the rows into the order of their series; those of one stay in the order of their starts.
func (e *encoder) sort() {
	e.starts = grown(e.starts, len(e.labels)+1)
	clear(e.starts)
	for i := range e.rows {
		e.starts[e.rows[i].code+1]++
	}
	for i := range len(e.labels) {
		e.starts[i+1] += e.starts[i]
	}
	e.order = grown(e.order, len(e.rows))
	for i := range e.rows {
		c := e.rows[i].code
		e.order[e.starts[c]] = int32(i)
		e.starts[c]++
	}
}

// appendRows appends the piece of series and numbers. Sort must have been called.
func (e *encoder) appendRows(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(e.labels)))
	most := 0
	for _, l := range e.labels {
		most = max(most, len(l))
	}
	dst = append(dst, byte(most))
	for dim := range most {
		e.text.Reset()
		for _, l := range e.labels {
			if dim < len(l) {
				e.text.AppendString(l[dim])
			} else {
				e.text.Append(nil)
			}
		}
		dst = appendPart(dst, func(dst []byte) []byte { return e.columns.AppendTexts(dst, &e.text) })
	}
	every := func(*row) bool { return true }
	dst = e.appendInts(dst, every, func(r *row) int64 { return int64(r.code) })
	dst = e.appendInts(dst, every, func(r *row) int64 { return r.start })
	dst = e.appendInts(dst, every, func(r *row) int64 { return int64(r.count) })            //nolint:gosec // comes back the same way
	dst = e.appendInts(dst, every, func(r *row) int64 { return int64(r.count - r.values) }) //nolint:gosec // likewise
	numeric := func(r *row) bool { return r.values > 0 }
	dst = e.appendFloats(dst, numeric, func(r *row) float64 { return r.min })
	dst = e.appendInts(dst, numeric, func(r *row) int64 { return r.lastAt - r.start })
	dst = e.appendInts(dst, numeric, func(r *row) int64 { return truth(r.full() != (r.values > 1)) })
	full := func(r *row) bool { return r.values > 0 && r.full() }
	dst = e.appendFloats(dst, full, func(r *row) float64 { return r.max })
	dst = e.appendInts(dst, func(r *row) bool { return full(r) && r.values == 2 }, func(r *row) int64 {
		return int64(math.Float64bits(r.sum) - math.Float64bits(r.min+r.max)) //nolint:gosec // modulo 2⁶⁴, and comes back
	})
	dst = e.appendFloats(dst, func(r *row) bool { return full(r) && r.values != 2 }, func(r *row) float64 { return r.sum })
	dst = e.appendInts(dst, full, func(r *row) int64 { return r.lastIs() })
	return e.appendFloats(dst, func(r *row) bool { return full(r) && r.lastIs() == lastOther }, func(r *row) float64 { return r.last })
}

// full says that more than one number is needed to tell the sum, the extremes and the last value.
func (r *row) full() bool {
	m := math.Float64bits(r.min)
	return r.values > 1 || math.Float64bits(r.max) != m || math.Float64bits(r.sum) != m || math.Float64bits(r.last) != m
}

// What the last value is.
const (
	lastMin = iota
	lastMax
	lastOther
)

func (r *row) lastIs() int64 {
	switch math.Float64bits(r.last) {
	case math.Float64bits(r.min):
		return lastMin
	case math.Float64bits(r.max):
		return lastMax
	}
	return lastOther
}

func truth(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

func (e *encoder) appendInts(dst []byte, which func(*row) bool, of func(*row) int64) []byte {
	e.ints = e.ints[:0]
	for _, i := range e.order {
		if r := &e.rows[i]; which(r) {
			e.ints = append(e.ints, of(r))
		}
	}
	return appendPart(dst, func(dst []byte) []byte { return column.AppendInts(dst, e.ints) })
}

func (e *encoder) appendFloats(dst []byte, which func(*row) bool, of func(*row) float64) []byte {
	e.nums = e.nums[:0]
	for _, i := range e.order {
		if r := &e.rows[i]; which(r) {
			e.nums = append(e.nums, of(r))
		}
	}
	return appendPart(dst, func(dst []byte) []byte { return e.floats.append(dst, e.nums) })
}

// appendQuantiles appends the piece of quantile sketches: nothing when there are none that don't follow from the numbers.
func (e *encoder) appendQuantiles(dst []byte) []byte {
	if e.quant.Bytes() == 0 {
		return dst
	}
	e.text.Reset()
	for _, i := range e.order {
		e.text.Append(e.quant.At(int(i)))
	}
	return e.columns.AppendTexts(dst, &e.text)
}

// appendDistinct appends the piece of distinct values: nothing when there are none.
func (e *encoder) appendDistinct(dst []byte) []byte { return e.unique.append(dst, e.order, e.columns) }
