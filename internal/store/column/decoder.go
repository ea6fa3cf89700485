package column

import (
	"encoding/binary"
	"slices"

	"github.com/klauspost/compress/zstd"
)

// Decoder reads columns. It keeps its memory from one column to the next; one goroutine at a time may use it.
type Decoder struct {
	zstd *zstd.Decoder
	ints []int64
	more []int64
	rows []uint32
}

// NewDecoder makes a Decoder.
func NewDecoder() *Decoder { return &Decoder{} }

// Texts reads a column of n texts into dst, whatever that held.
func (d *Decoder) Texts(dst *Texts, src []byte, n int) error {
	dst.Reset()
	if n < 0 || n > MaxRows {
		return corrupt("too many rows")
	}
	if err := d.texts(dst, src, n, true); err != nil {
		dst.Reset()
		return err
	}
	return nil
}

// texts reads a column; the entries of a dictionary are a column too, but without one of their own.
func (d *Decoder) texts(dst *Texts, src []byte, n int, outer bool) error {
	r := reader{src: src}
	switch form := r.byte(); {
	case r.failed:
		return corrupt("no texts")
	case form == textsNil && len(r.src) == 0:
		d.same(dst, nil, n)
		return nil
	case form == textsConstant && outer:
		d.same(dst, r.src[:len(r.src):len(r.src)], n)
		return nil
	case form == textsCodes && outer:
		return d.coded(dst, &r, n)
	case form == textsSparse:
		return d.sparse(dst, &r, n)
	default:
		return d.direct(dst, form, &r, n)
	}
}

// direct reads texts of which none is nil.
func (d *Decoder) direct(dst *Texts, form byte, r *reader, n int) error {
	switch form {
	case textsDecimal:
		return d.decimals(dst, r, n)
	case textsTemplate:
		return d.templates(dst, r, n)
	case textsPlain, textsZstd:
		return d.bytes(dst, r, n, form == textsZstd)
	}
	return corrupt("unknown form of texts")
}

// same makes all rows one text.
func (d *Decoder) same(dst *Texts, text []byte, n int) {
	if n == 0 {
		return
	}
	dst.Append(text)
	dst.codes = grown(dst.codes, n)
	clear(dst.codes)
	dst.coded = true
}

func (d *Decoder) coded(dst *Texts, r *reader, n int) error {
	count := r.count(n)
	entries := r.part()
	if r.failed || count == 0 {
		return corrupt("dictionary")
	}
	if err := d.texts(dst, entries, count, false); err != nil {
		return err
	}
	if dst.coded { // all entries nil, which is one entry
		return corrupt("dictionary of equal entries")
	}
	var err error
	if dst.codes, err = decodeInts(dst.codes, r.src, n); err != nil {
		return err
	}
	most := uint32(0)
	for _, c := range dst.codes {
		most = max(most, c)
	}
	if int(most) >= count {
		return corrupt("code without a text")
	}
	dst.coded = true
	return nil
}

// sparse reads texts some of which are nil.
func (d *Decoder) sparse(dst *Texts, r *reader, n int) error {
	flags := r.part()
	if r.failed {
		return corrupt("nil texts")
	}
	var err error
	if d.ints, err = DecodeInts(d.ints, flags, n); err != nil {
		return err
	}
	dense := 0
	for i, f := range d.ints {
		if f == 0 {
			dst.setNil(i)
		} else {
			dense++
		}
	}
	if err := d.direct(dst, r.byte(), r, dense); err != nil {
		return err
	}
	// Spread the ends, from the last on as each moves backwards or stays.
	dst.ends = slices.Grow(dst.ends, n-dense)[:n+1]
	from := dense
	for i := n; i > 0; i-- {
		dst.ends[i] = dst.ends[from]
		if !dst.isNil(i - 1) {
			from--
		}
	}
	return nil
}

func (d *Decoder) bytes(dst *Texts, r *reader, n int, compressed bool) error {
	lengths := r.part()
	if r.failed {
		return corrupt("texts")
	}
	var err error
	if d.ints, err = DecodeInts(d.ints, lengths, n); err != nil {
		return err
	}
	dst.ends = grown(dst.ends, n+1)
	dst.ends[0] = 0
	total := int64(0)
	for i, length := range d.ints {
		if length < 0 || length > MaxBytes-total {
			return corrupt("lengths of texts")
		}
		total += length
		dst.ends[i+1] = uint32(total) //nolint:gosec // at most MaxBytes
	}
	if !compressed {
		if int64(len(r.src)) != total {
			return corrupt("texts are too short or too long")
		}
		dst.data = append(dst.data[:0], r.src...)
		return nil
	}
	return d.unpack(dst, r.src, int(total))
}

// most is how much larger than its input zstd's output can be: a block of up to 128 KiB of one byte takes four bytes.
const most = 1 << 15

// unpack makes total bytes of compressed ones.
func (d *Decoder) unpack(dst *Texts, src []byte, total int) error {
	if total/most > len(src) {
		return corrupt("more text than can be")
	}
	if d.zstd == nil {
		z, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxMemory(MaxBytes),
			zstd.WithDecodeAllCapLimit(true))
		if err != nil {
			return err
		}
		d.zstd = z
	}
	dst.data = grown(dst.data, total)
	data, err := d.zstd.DecodeAll(src, dst.data[:0:total])
	if err != nil {
		return corrupt(err.Error())
	}
	if len(data) != total {
		return corrupt("texts are too short")
	}
	return nil
}

// part cuts off what begin and end wrote.
func (r *reader) part() []byte {
	b := r.take(4)
	if r.failed {
		return nil
	}
	n := binary.LittleEndian.Uint32(b)
	if uint64(n) > uint64(len(r.src)) {
		r.failed, r.src = true, nil
		return nil
	}
	return r.take(int(n))
}
