package rollup

import (
	"fmt"
	"math"

	"github.com/pulsestream/pulsestream/internal/series"
	"github.com/pulsestream/pulsestream/internal/store/column"
)

// decoder reads blocks, one after the other, into the same memory.
type decoder struct {
	columns *column.Decoder
	floats  floats

	n      int
	labels []column.Texts // by their index; rows are series
	series int
	codes  []int64
	starts []int64
	counts []int64
	values []int64
	// Those of rows without numbers are zero.
	sum, min, max, last []float64
	lastAt              []int64

	numeric, full []int32 // rows
	ints          []int64
	nums          []float64

	quant  column.Texts
	unique distinctKeys
}

func newDecoder() *decoder { return &decoder{columns: column.NewDecoder()} }

// rows reads the piece of series and numbers of n rows, whose starts lie between first and last.
func (d *decoder) rows(src []byte, n int, first, last int64) (err error) {
	p := parts{src: src}
	count, labels := p.uvarint(), int(p.byte())
	if p.bad || count == 0 || count > uint64(max(n, 0)) || labels > maxLabels || n > blockRows {
		return errCorrupt
	}
	d.n, d.series = n, int(count) //nolint:gosec // at most n
	d.labels = grown(d.labels, max(labels, cap(d.labels)))[:labels]
	for i := range d.labels {
		if err := d.columns.Texts(&d.labels[i], p.part(), d.series); err != nil {
			return err
		}
	}
	for _, c := range []*[]int64{&d.codes, &d.starts, &d.counts, &d.values} {
		if *c, err = column.DecodeInts(*c, p.part(), n); err != nil {
			return err
		}
	}
	d.numeric = d.numeric[:0]
	for i, c := range d.codes {
		if d.values[i] = d.counts[i] - d.values[i]; c < 0 || c >= int64(d.series) || d.starts[i] < first || d.starts[i] > last || d.values[i] < 0 || d.values[i] > d.counts[i] {
			return errCorrupt
		}
		if d.values[i] > 0 {
			d.numeric = append(d.numeric, int32(i))
		}
	}
	if err := d.numbers(&p); err != nil {
		return err
	}
	if p.bad || len(p.src) > 0 {
		return errCorrupt
	}
	return nil
}

// numbers reads what there is of rows that have numbers.
func (d *decoder) numbers(p *parts) (err error) {
	for _, c := range []*[]float64{&d.sum, &d.min, &d.max, &d.last} {
		*c = grown(*c, d.n)
		clear(*c)
	}
	d.lastAt = grown(d.lastAt, d.n)
	clear(d.lastAt)
	if err := d.someFloats(p, d.numeric); err != nil {
		return err
	}
	for at, i := range d.numeric {
		v := d.nums[at]
		d.sum[i], d.min[i], d.max[i], d.last[i] = v, v, v, v
	}
	if err := d.someInts(p, d.numeric); err != nil {
		return err
	}
	for at, i := range d.numeric {
		d.lastAt[i] = d.starts[i] + d.ints[at]
	}
	if err := d.someInts(p, d.numeric); err != nil {
		return err
	}
	d.full = d.full[:0]
	for at, i := range d.numeric {
		if (d.ints[at] != 0) != (d.values[i] > 1) {
			d.full = append(d.full, i)
		}
	}
	if err := d.someFloats(p, d.full); err != nil {
		return err
	}
	for at, i := range d.full {
		d.max[i] = d.nums[at]
	}
	return d.sums(p)
}

func (d *decoder) sums(p *parts) error {
	var two, more []int32
	split := d.numeric[:0] // whose turn is over
	for _, i := range d.full {
		if d.values[i] == 2 {
			split = append(split, i)
		}
	}
	two = split
	for _, i := range d.full {
		if d.values[i] != 2 {
			split = append(split, i)
		}
	}
	more = split[len(two):]
	if err := d.someInts(p, two); err != nil {
		return err
	}
	for at, i := range two {
		d.sum[i] = math.Float64frombits(math.Float64bits(d.min[i]+d.max[i]) + uint64(d.ints[at])) //nolint:gosec // wraps back
	}
	if err := d.someFloats(p, more); err != nil {
		return err
	}
	for at, i := range more {
		d.sum[i] = d.nums[at]
	}
	if err := d.someInts(p, d.full); err != nil {
		return err
	}
	others := d.numeric[:0]
	for at, i := range d.full {
		switch d.ints[at] {
		case lastMin:
			d.last[i] = d.min[i]
		case lastMax:
			d.last[i] = d.max[i]
		default:
			others = append(others, i)
		}
	}
	if err := d.someFloats(p, others); err != nil {
		return err
	}
	for at, i := range others {
		d.last[i] = d.nums[at]
	}
	return nil
}

func (d *decoder) someInts(p *parts, rows []int32) (err error) {
	d.ints, err = column.DecodeInts(d.ints, p.part(), len(rows))
	return err
}

func (d *decoder) someFloats(p *parts, rows []int32) (err error) {
	d.nums, err = d.floats.decode(d.nums, p.part(), len(rows))
	return err
}

// sketches reads the two other pieces.
func (d *decoder) sketches(quant, unique []byte) error {
	d.quant.Reset()
	if len(quant) > 0 {
		if err := d.columns.Texts(&d.quant, quant, d.n); err != nil {
			return err
		}
	}
	return d.unique.read(unique, d.n, d.columns)
}

// scalars are the numbers of a row.
func (d *decoder) scalars(i int) series.Agg {
	return series.Agg{Count: uint64(d.counts[i]), Values: uint64(d.values[i]), Sum: d.sum[i], Min: d.min[i], Max: d.max[i], Last: d.last[i], LastAt: d.lastAt[i]} //nolint:gosec // not negative
}

// mergeInto merges a row into an aggregate, by way of one whose memory is used. Sketches must have been read.
func (d *decoder) mergeInto(to, one *series.Agg, i int) error {
	one.Reset()
	one.Count, one.Values = uint64(d.counts[i]), uint64(d.values[i]) //nolint:gosec // not negative
	one.Sum, one.Min, one.Max, one.Last, one.LastAt = d.sum[i], d.min[i], d.max[i], d.last[i], d.lastAt[i]
	var quant []byte
	if d.quant.Len() > 0 {
		quant = d.quant.At(i)
	}
	if err := one.SetQuantiles(quant); err != nil {
		return fmt.Errorf("%w: %w", errCorrupt, err)
	}
	to.Merge(one)
	if err := d.unique.addTo(to, i); err != nil {
		return fmt.Errorf("%w: %w", errCorrupt, err)
	}
	return nil
}

// labelsOf are a copy of the labels of a series.
func (d *decoder) labelsOf(code int) series.Labels {
	l := make(series.Labels, 0, len(d.labels))
	for i := range d.labels {
		text := d.labels[i].At(code)
		if text == nil {
			break
		}
		l = append(l, string(text))
	}
	return l
}
