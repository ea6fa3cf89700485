package shred

import (
	"bytes"
	"encoding/binary"
	"slices"

	"github.com/pulsestream/pulsestream/internal/store/column"
)

// Reader reads a block of shredded texts. It decodes a column when it is first asked for, and keeps it until the next Reset; it
// keeps its memory beyond that. The zero value is ready for Reset. One goroutine at a time may use it.
type Reader struct {
	columns *column.Decoder
	rows    []int64  // what each is
	ranks   []uint32 // of each row among those of its kind
	counts  []int    // of the rows of each kind
	shapes  []known
	slots   []stored
	texts   stored // those that are whole

	skeletons    column.Texts
	parts        []byte // of the shapes that are parted
	modes, sizes []int64
	scratch      []byte
	targets      []target // of a path, by shape
	present      []bool   // what rows of a question there are, as counts
	decoded      int      // bytes of the columns that are
}

// known is a shape.
type known struct {
	skeleton []byte
	first    int // of its slots among those of all shapes
	slots    int
	parted   bool
	rest     []byte // behind the last value, once it is parted
}

// stored is a column of the block.
type stored struct {
	src     []byte
	rows    int
	mode    mode
	decoded bool
	before  []byte // what a text has between the value before and this one, once its shape is parted
	values  column.Texts
	numeric bool // floats are the values, or those of the dictionary's texts
	floats  []float64
}

// Use makes the Reader decode columns with d from now on, instead of a decoder of its own, so that many Readers share the memory of one.
// Whoever else uses d must not do so at the same time.
func (r *Reader) Use(d *column.Decoder) { r.columns = d }

// Reset begins to read a block of n rows. It looks only at the directory. Src must stay as it is while the block is read.
func (r *Reader) Reset(src []byte, n int) error {
	if r.columns == nil {
		r.columns = column.NewDecoder()
	}
	err := r.open(src, n)
	if err != nil {
		r.rows, r.shapes = r.rows[:0], r.shapes[:0]
	}
	return err
}

func (r *Reader) open(src []byte, n int) error {
	if len(src) == 0 || src[0] != format {
		return corrupt("unknown format")
	}
	r.decoded = 0
	s := sections{src: src[1:]}
	rows := s.next()
	shapes := s.number(maxShapes)
	skeletons, modes, sizes, whole := s.next(), s.next(), s.next(), s.next()
	if s.failed {
		return corrupt("directory")
	}
	var err error
	if r.rows, err = column.DecodeInts(r.rows, rows, n); err != nil {
		return err
	}
	if err = r.rank(shapes); err != nil {
		return err
	}
	if err = r.columns.Texts(&r.skeletons, skeletons, shapes); err != nil {
		return err
	}
	total := r.openShapes()
	if total > maxShapes*maxSlots {
		return corrupt("too many slots")
	}
	if r.modes, err = column.DecodeInts(r.modes, modes, total); err != nil {
		return err
	}
	if r.sizes, err = column.DecodeInts(r.sizes, sizes, total); err != nil {
		return err
	}
	r.texts.src, r.texts.rows, r.texts.decoded, r.texts.numeric = whole, r.counts[rowWhole], false, false
	return r.openSlots(s.src)
}

// rank counts the rows of each kind.
func (r *Reader) rank(shapes int) error {
	r.counts = slices.Grow(r.counts[:0], rowShapes+shapes)[:rowShapes+shapes]
	clear(r.counts)
	r.ranks = slices.Grow(r.ranks[:0], len(r.rows))[:len(r.rows)]
	for i, row := range r.rows {
		if row < 0 || row >= int64(len(r.counts)) {
			return corrupt("row of an unknown shape")
		}
		r.ranks[i] = uint32(r.counts[row]) //nolint:gosec // at most the number of rows
		r.counts[row]++
	}
	return nil
}

func (r *Reader) openShapes() (slots int) {
	r.shapes, r.parts = r.shapes[:0], r.parts[:0]
	for i := range r.skeletons.Len() {
		s := known{skeleton: r.skeletons.At(i), first: slots}
		s.slots = bytes.Count(s.skeleton, []byte{mark})
		slots += s.slots
		r.shapes = append(r.shapes, s)
	}
	return slots
}

func (r *Reader) openSlots(src []byte) error {
	total := len(r.sizes)
	r.slots = slices.Grow(r.slots[:0], total)[:total]
	for i, s := range r.shapes {
		for k := s.first; k < s.first+s.slots; k++ {
			size := r.sizes[k]
			if size < 0 || size > int64(len(src)) || r.modes[k] < 0 || r.modes[k] >= int64(modes) {
				return corrupt("size of a slot")
			}
			to := &r.slots[k]
			to.src, to.rows, to.mode, to.decoded, to.numeric = src[:size], r.counts[rowShapes+i], mode(r.modes[k]), false, false
			src = src[size:]
		}
	}
	if len(src) != 0 {
		return corrupt("bytes at the end")
	}
	return nil
}

// decode makes sure that a column is decoded.
func (r *Reader) decode(s *stored) error {
	if s.decoded {
		return nil
	}
	if err := r.columns.Texts(&s.values, s.src, s.rows); err != nil {
		return err
	}
	// Each distinct value is part of some text, and those are bounded. This keeps bytes that nobody wrote from filling the memory.
	if r.decoded += s.values.Bytes(); r.decoded > column.MaxBytes {
		return corrupt("values are too long")
	}
	s.decoded = true
	return nil
}

// Len is the number of rows.
func (r *Reader) Len() int { return len(r.rows) }

// mark notes in present what some rows are, and decodes those that are whole.
func (r *Reader) mark(from, to int) error {
	r.present = slices.Grow(r.present[:0], len(r.counts))[:len(r.counts)]
	clear(r.present)
	for _, row := range r.rows[from:to] {
		r.present[row] = true
	}
	if r.present[rowWhole] {
		return r.decode(&r.texts)
	}
	return nil
}

// fill decodes what the texts of a shape have at its marks, and parts the rest of them at those.
func (r *Reader) fill(s *known) error {
	r.part(s)
	for k := s.first; k < s.first+s.slots; k++ {
		if err := r.decode(&r.slots[k]); err != nil {
			return err
		}
	}
	return nil
}

// Docs reads the texts of the rows from (inclusive) to (exclusive) into dst, whatever that held.
func (r *Reader) Docs(dst *column.Texts, from, to int) error {
	dst.Reset()
	if err := r.mark(from, to); err != nil {
		return err
	}
	for i := range r.shapes {
		if !r.present[rowShapes+i] {
			continue
		}
		if err := r.fill(&r.shapes[i]); err != nil {
			return err
		}
	}
	for i, row := range r.rows[from:to] {
		rank := int(r.ranks[from+i])
		switch row {
		case rowNil:
			dst.Append(nil)
		case rowWhole:
			dst.Append(r.texts.values.At(rank))
		default:
			dst.Close(r.text(dst.Open(), &r.shapes[row-rowShapes], rank))
		}
		if dst.Bytes() > column.MaxBytes {
			return corrupt("texts are too long")
		}
	}
	return nil
}

// Doc appends the text of a row to dst. Of a row without a text it returns nil.
func (r *Reader) Doc(dst []byte, row int) ([]byte, error) {
	switch kind := r.rows[row]; kind {
	case rowNil:
		return nil, nil
	case rowWhole:
		if err := r.decode(&r.texts); err != nil {
			return dst, err
		}
		return append(dst, r.texts.values.At(int(r.ranks[row]))...), nil
	default:
		s := &r.shapes[kind-rowShapes]
		if err := r.fill(s); err != nil {
			return dst, err
		}
		return r.text(dst, s, int(r.ranks[row])), nil
	}
}

// part cuts the skeleton of a shape at its marks. The quotes of strings are part of what is around them.
func (r *Reader) part(s *known) {
	if s.parted {
		return
	}
	cut := func(text []byte, before, behind bool) []byte {
		from := len(r.parts)
		if before {
			r.parts = append(r.parts, '"')
		}
		r.parts = append(r.parts, text...)
		if behind {
			r.parts = append(r.parts, '"')
		}
		return r.parts[from:len(r.parts):len(r.parts)]
	}
	quoted, rest := false, s.skeleton
	for k := s.first; k < s.first+s.slots; k++ {
		v, at := &r.slots[k], bytes.IndexByte(rest, mark)
		v.before = cut(rest[:at], quoted, v.mode == modeStrings)
		quoted, rest = v.mode == modeStrings, rest[at+1:]
	}
	s.rest, s.parted = cut(rest, quoted, false), true
}

// text appends the text of a row whose shape is filled.
func (r *Reader) text(dst []byte, s *known, rank int) []byte {
	slots := r.slots[s.first : s.first+s.slots]
	for k := range slots {
		v := &slots[k]
		dst = append(dst, v.before...)
		dst = append(dst, v.values.At(rank)...)
	}
	return append(dst, s.rest...)
}

// append appends a stretch of a shape, whose first mark is that of slot, with the values that a row has there.
func (r *Reader) append(dst []byte, s *known, stretch []byte, slot, rank int) []byte {
	for slot < s.first+s.slots {
		at := bytes.IndexByte(stretch, mark)
		if at < 0 {
			break
		}
		dst = append(dst, stretch[:at]...)
		v := &r.slots[slot]
		if v.mode == modeStrings {
			dst = append(dst, '"')
			dst = append(dst, v.values.At(rank)...)
			dst = append(dst, '"')
		} else {
			dst = append(dst, v.values.At(rank)...)
		}
		stretch = stretch[at+1:]
		slot++
	}
	return append(dst, stretch...)
}

// sections reads the directory.
type sections struct {
	src    []byte
	failed bool
}

func (s *sections) number(limit int) int {
	v, n := binary.Uvarint(s.src)
	if n <= 0 || v > uint64(limit) { //nolint:gosec // not below zero
		s.failed, s.src = true, nil
		return 0
	}
	s.src = s.src[n:]
	return int(v) //nolint:gosec // at most limit
}

func (s *sections) next() []byte {
	n := s.number(len(s.src))
	if n > len(s.src) { // what the number itself takes is gone
		s.failed, n = true, 0
	}
	part := s.src[:n]
	s.src = s.src[n:]
	return part
}
