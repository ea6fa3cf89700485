package shred

import (
	"bytes"
	"encoding/binary"
	"slices"

	"github.com/pulsestream/pulsestream/internal/store/column"
)

// shape is a shape of the block in hand, with the values of its rows.
type shape struct {
	parts [][]byte // of the text before, between and behind the values
	slots []slot
	rows  int
	row   int64 // how its rows are written
}

// slot is the values of the rows of a shape at one place.
type slot struct {
	mode   mode
	values column.Texts
}

// Encoder shreds blocks of texts. It keeps its memory from one to the next; one goroutine at a time may use it.
type Encoder struct {
	columns column.Encoder
	known   column.Interner // the shapes' texts
	shapes  []shape
	count   int // of shapes
	last    int // the shape of the row before, or -1
	rows    []int64
	values  [maxSlots]span
	scratch []byte
	seen    byte // what was touched; nobody asks

	skeletons, whole, spare column.Texts
	modes, sizes            []int64
	counts                  []int
	part, body              []byte
}

// NewEncoder makes an Encoder.
func NewEncoder() *Encoder { return &Encoder{} }

// Append appends a block of texts, of which nil ones are no text. It keeps none of them.
func (e *Encoder) Append(dst []byte, texts [][]byte) []byte {
	e.begin()
	for i, text := range texts {
		if i%touched == 0 {
			e.touch(texts[i:min(i+touched, len(texts))])
		}
		e.rows = append(e.rows, e.add(text))
	}
	e.choose()
	e.gather(texts)
	return e.write(dst)
}

// touched is how many texts are touched at a time.
const touched = 32

// touch reads a little of some texts one after the other, so that memory gives them all at once: each by itself would have to be waited for.
func (e *Encoder) touch(texts [][]byte) {
	for _, t := range texts {
		for at := 0; at < len(t); at += 64 {
			e.seen += t[at]
		}
	}
}

func (e *Encoder) begin() {
	e.known.Reset()
	e.count, e.last = 0, -1
	e.rows = e.rows[:0]
}

// add takes a row in, and says what it is: rowNil, rowWhole, or a candidate of a shape.
func (e *Encoder) add(text []byte) int64 {
	switch {
	case text == nil:
		return rowNil
	case len(text) == 0 || len(text) > maxText:
		return rowWhole
	}
	at, n, same := 0, 0, false
	if e.last >= 0 {
		at, n, same = e.shapes[e.last].match(text, &e.values)
	}
	if !same {
		if e.last = e.find(text, at, n); e.last < 0 {
			return rowWhole
		}
	}
	e.shapes[e.last].add(text, &e.values, &e.spare)
	return int64(rowShapes + e.last)
}

// match finds the values of a text if it has the shape. Most rows have that of the row before, and to compare is quicker than to
// look for what is there. It says how far it came, right behind a value, and past how many.
func (s *shape) match(text []byte, values *[maxSlots]span) (at, n int, same bool) {
	for k := range s.slots {
		part := s.parts[k]
		from := at + len(part)
		if len(text) <= from || !bytes.Equal(text[at:from], part) {
			return at, k, false
		}
		var end int
		if text[from] == '"' {
			if end = stringEnd(text, from+1) + 1; end == 0 {
				return at, k, false
			}
		} else if end = plainEnd(text, from); end == from {
			return at, k, false
		}
		values[k] = span{uint32(from), uint32(end)} //nolint:gosec // at most maxText
		at = end
	}
	return at, len(s.slots), bytes.Equal(text[at:], s.parts[len(s.slots)])
}

// find cuts a text, which is known up to at, where n values of the last shape end, and gives its shape, or -1.
func (e *Encoder) find(text []byte, at, n int) int {
	e.scratch = e.scratch[:0]
	for k := range n {
		e.scratch = append(append(e.scratch, e.shapes[e.last].parts[k]...), mark)
	}
	if e.scratch, n = cut(e.scratch, text, at, n, &e.values); n < 0 {
		return -1
	}
	if e.known.Len() == candidates {
		return e.known.Find(e.scratch)
	}
	code := int(e.known.Code(e.scratch))
	if code == e.count {
		e.open(n)
	}
	return code
}

// open makes a shape of what stands in scratch.
func (e *Encoder) open(slots int) {
	if e.count == len(e.shapes) {
		e.shapes = append(e.shapes, shape{})
	}
	s := &e.shapes[e.count]
	e.count++
	s.rows = 0
	s.slots = slices.Grow(s.slots[:0], slots)[:slots]
	for k := range s.slots {
		s.slots[k].values.Reset()
	}
	s.parts = slices.Grow(s.parts[:0], slots+1)[:slots+1]
	rest := e.scratch
	for k := range slots {
		at := bytes.IndexByte(rest, mark)
		s.parts[k] = append(s.parts[k][:0], rest[:at]...)
		rest = rest[at+1:]
	}
	s.parts[slots] = append(s.parts[slots][:0], rest...)
}

// add takes in the values of a row of the shape.
func (s *shape) add(text []byte, values *[maxSlots]span, spare *column.Texts) {
	for k := range s.slots {
		to, v := &s.slots[k], values[k]
		quoted := text[v.from] == '"'
		if s.rows == 0 {
			to.mode = modePlain
			if quoted {
				to.mode = modeStrings
			}
		}
		if quoted && to.mode == modeStrings {
			to.values.Append(text[v.from+1 : v.to-1])
			continue
		}
		if quoted == (to.mode == modePlain) {
			to.mix(spare)
		}
		to.values.Append(text[v.from:v.to])
	}
	s.rows++
}

// mix makes room for a value of the other kind.
func (s *slot) mix(spare *column.Texts) {
	if s.mode == modeStrings {
		spare.Reset()
		for i := range s.values.Len() {
			spare.Close(append(append(append(spare.Open(), '"'), s.values.At(i)...), '"'))
		}
		s.values, *spare = *spare, s.values
	}
	s.mode = modeMixed
}

// choose numbers the shapes that are frequent enough, the most frequent ones if there are too many.
func (e *Encoder) choose() {
	least := 0
	if e.count > maxShapes {
		e.counts = e.counts[:0]
		for i := range e.shapes[:e.count] {
			e.counts = append(e.counts, e.shapes[i].rows)
		}
		slices.Sort(e.counts)
		least = e.counts[e.count-maxShapes]
	}
	number := int64(rowShapes)
	for i := range e.shapes[:e.count] {
		s := &e.shapes[i]
		s.row = rowWhole
		if s.rows >= max(least, minRows+len(s.slots)/slotsARow) && number < rowShapes+maxShapes {
			s.row = number
			number++
		}
	}
}

// gather gives the rows their final numbers, and collects the texts that stay whole.
func (e *Encoder) gather(texts [][]byte) {
	e.whole.Reset()
	for i, row := range e.rows {
		if row >= rowShapes {
			row = e.shapes[row-rowShapes].row
			e.rows[i] = row
		}
		if row == rowWhole {
			e.whole.Append(texts[i])
		}
	}
}

// write appends what begins with the directory: the rows' numbers, the shapes, and of each slot its mode and its size; the texts
// that are whole; the slots.
func (e *Encoder) write(dst []byte) []byte {
	e.skeletons.Reset()
	e.modes, e.sizes, e.body = e.modes[:0], e.sizes[:0], e.body[:0]
	for i := range e.shapes[:e.count] {
		s := &e.shapes[i]
		if s.row == rowWhole {
			continue
		}
		all := e.skeletons.Open()
		for k, part := range s.parts {
			if k > 0 {
				all = append(all, mark)
			}
			all = append(all, part...)
		}
		e.skeletons.Close(all)
		for k := range s.slots {
			before := len(e.body)
			e.body = e.columns.AppendTexts(e.body, &s.slots[k].values)
			e.modes = append(e.modes, int64(s.slots[k].mode))
			e.sizes = append(e.sizes, int64(len(e.body)-before))
		}
	}
	dst = append(dst, format)
	dst = e.section(dst, column.AppendInts(e.part[:0], e.rows))
	dst = binary.AppendUvarint(dst, uint64(e.skeletons.Len())) //nolint:gosec // a count
	dst = e.section(dst, e.columns.AppendTexts(e.part[:0], &e.skeletons))
	dst = e.section(dst, column.AppendInts(e.part[:0], e.modes))
	dst = e.section(dst, column.AppendInts(e.part[:0], e.sizes))
	dst = e.section(dst, e.columns.AppendTexts(e.part[:0], &e.whole))
	return append(dst, e.body...)
}

// section appends part, which is in the memory of e.part, behind its length.
func (e *Encoder) section(dst, part []byte) []byte {
	e.part = part
	return append(binary.AppendUvarint(dst, uint64(len(part))), part...)
}
