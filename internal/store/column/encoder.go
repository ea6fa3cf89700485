package column

import (
	"bytes"
	"encoding/binary"

	"github.com/klauspost/compress/zstd"
)

// The forms of a column of texts; the first byte says which.
const (
	textsConstant = iota // the text
	textsNil             // nothing: all are nil
	textsCodes           // number of entries, the entries as a column of texts, the codes as one of numbers
	textsSparse          // which rows are not nil, as a column of numbers; those rows
	textsDecimal         // what all begin and end with; digits behind the point and digits, as columns of numbers
	textsTemplate        // see template.go
	textsPlain           // lengths as a column of numbers; the bytes
	textsZstd            // the same, compressed
)

// worthZstd is how many bytes there must be to try to compress them.
const worthZstd = 48

// Encoder writes columns. It keeps its memory from one column to the next; one goroutine at a time may use it.
type Encoder struct {
	zstd     *zstd.Encoder
	distinct Interner
	codes    []int64
	ints     []int64 // lengths, or numbers of a field
	more     []int64
	plain    Texts // rows without those that are nil
	template templates
}

// NewEncoder makes an Encoder.
func NewEncoder() *Encoder { return &Encoder{} }

// AppendInts appends a column of numbers: AppendInts the function, for those who hold an Encoder anyway.
func (e *Encoder) AppendInts(dst []byte, values []int64) []byte { return AppendInts(dst, values) }

// AppendTexts appends a column of texts, of which there may be at most MaxRows and MaxBytes. None are a column too.
func (e *Encoder) AppendTexts(dst []byte, values *Texts) []byte {
	n := values.Len()
	if n == 0 {
		return append(dst, textsNil)
	}
	if !e.findCodes(values) {
		return e.appendDirect(dst, values)
	}
	d := e.distinct.Len()
	if d == 1 {
		if text := values.At(0); text != nil {
			return append(append(dst, textsConstant), text...)
		}
		return append(dst, textsNil)
	}
	start := len(dst)
	dst = e.appendCodes(dst)
	if d <= n/8 {
		return dst
	}
	// Codes are worth a little, as a reader can group by them.
	middle := len(dst)
	dst = e.appendDirect(dst, values)
	if coded, direct := middle-start, len(dst)-middle; direct < coded-coded/8 {
		return dst[:start+copy(dst[start:], dst[middle:])]
	}
	return dst[:middle]
}

// findCodes gives each row the code of its text, unless there are so many distinct ones that codes do not pay.
func (e *Encoder) findCodes(values *Texts) bool {
	n := values.Len()
	e.codes = grown(e.codes, n)
	e.distinct.Reset()
	var last []byte
	code := int64(-1)
	for i := range n {
		text := values.At(i)
		if code < 0 || !bytes.Equal(text, last) || (text == nil) != (last == nil) {
			code, last = int64(e.distinct.Code(text)), text
			if i&31 == 31 && (e.distinct.Len() > 64+i/2 || e.distinct.spent > 1024+4*i) {
				return false
			}
		}
		e.codes[i] = code
	}
	return true
}

func (e *Encoder) appendCodes(dst []byte) []byte {
	entries := e.distinct.Texts()
	dst = binary.AppendUvarint(append(dst, textsCodes), uint64(entries.entries())) //nolint:gosec // a count
	dst, at := begin(dst)
	dst = e.appendDirect(dst, entries)
	dst = end(dst, at)
	return AppendInts(dst, e.codes)
}

// appendDirect writes texts without a dictionary.
func (e *Encoder) appendDirect(dst []byte, values *Texts) []byte {
	if !values.coded && !values.hasNil() {
		return e.appendPlain(dst, values)
	}
	e.plain.Reset()
	e.ints = grown(e.ints, values.Len())
	for i := range e.ints {
		e.ints[i] = 0
		if text := values.At(i); text != nil {
			e.plain.Append(text)
			e.ints[i] = 1
		}
	}
	if e.plain.Len() == 0 {
		return append(dst, textsNil)
	}
	if e.plain.Len() < values.Len() {
		dst, at := begin(append(dst, textsSparse))
		dst = end(AppendInts(dst, e.ints), at)
		return e.appendPlain(dst, &e.plain)
	}
	return e.appendPlain(dst, &e.plain)
}

// appendPlain writes texts that are neither coded nor nil, at least one of them.
func (e *Encoder) appendPlain(dst []byte, values *Texts) []byte {
	prefix, suffix := values.affixes()
	start := len(dst)
	if dst, ok := e.appendDecimals(dst, values, prefix, suffix); ok {
		return dst
	}
	if dst, ok := e.appendTemplates(dst[:start], values, prefix, suffix); ok {
		return dst
	}
	return e.appendBytes(dst[:start], values)
}

// appendBytes writes lengths and bytes.
func (e *Encoder) appendBytes(dst []byte, values *Texts) []byte {
	n := values.entries()
	e.ints = grown(e.ints, n)
	for i := range e.ints {
		e.ints[i] = int64(values.ends[i+1] - values.ends[i])
	}
	form := len(dst)
	dst, at := begin(append(dst, textsPlain))
	dst = end(AppendInts(dst, e.ints), at)
	if len(values.data) >= worthZstd && e.ready() {
		start := len(dst)
		dst = e.zstd.EncodeAll(values.data, dst)
		if packed := len(dst) - start; packed < len(values.data)-len(values.data)/16 {
			dst[form] = textsZstd
			return dst
		}
		dst = dst[:start]
	}
	return append(dst, values.data...)
}

// ready makes the compressor when it is first needed. Without one, texts stay as they are.
func (e *Encoder) ready() bool {
	if e.zstd == nil {
		z, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1),
			zstd.WithEncoderCRC(false), zstd.WithSingleSegment(true), zstd.WithLowerEncoderMem(true))
		if err != nil {
			return false
		}
		e.zstd = z
	}
	return true
}

// begin leaves room for the length of what is appended next; end fills it in.
func begin(dst []byte) ([]byte, int) {
	return append(dst, 0, 0, 0, 0), len(dst) + 4
}

func end(dst []byte, at int) []byte {
	binary.LittleEndian.PutUint32(dst[at-4:], uint32(len(dst)-at)) //nolint:gosec // at most MaxBytes and a little
	return dst
}
