package shred

import (
	"bytes"
	"slices"

	"github.com/pulsestream/pulsestream/internal/store/column"
)

// Kind is what a value is.
type Kind uint8

// The kinds of values.
const (
	Missing Kind = iota // no text, or none at the path
	Null
	Bool
	Number
	String
	Other // an object or an array
)

// Values is what rows of a block have at a path. It is coded where all that the rows have comes out of dictionaries: then each
// row is a code, and the value stands in the dictionary. The zero value is empty; reuse it for its memory.
//
// The raw bytes of a value are its JSON text; of a string they are what is between the quotes, escapes as they are. They are a view
// that is good until the next use of the Values.
type Values struct {
	coded bool
	codes []uint32
	dict  column.Interner // kind and raw bytes; code 0 is Missing
	kinds []Kind
	texts column.Texts
	reuse []uint32
}

// Len is the number of rows.
func (v *Values) Len() int {
	if v.coded {
		return len(v.codes)
	}
	return len(v.kinds)
}

// Kind is the kind of a row's value.
func (v *Values) Kind(row int) Kind {
	if v.coded {
		return v.DictKind(v.codes[row])
	}
	return v.kinds[row]
}

// Raw is the raw bytes of a row's value.
func (v *Values) Raw(row int) []byte {
	if v.coded {
		return v.DictRaw(v.codes[row])
	}
	return v.texts.At(row)
}

// Codes gives a code below DictLen for each row when the values are coded. No two codes stand for the same raw bytes and kind, and
// code 0 is Missing, whether or not a row is.
func (v *Values) Codes() ([]uint32, bool) { return v.codes, v.coded }

// DictLen is the number of codes.
func (v *Values) DictLen() int {
	if v.coded {
		return v.dict.Len()
	}
	return 0
}

// DictKind is the kind of a code's value.
func (v *Values) DictKind(code uint32) Kind { return Kind(v.dict.Texts().At(int(code))[0]) }

// DictRaw is the raw bytes of a code's value.
func (v *Values) DictRaw(code uint32) []byte { return v.dict.Texts().At(int(code))[1:] }

func (v *Values) reset(coded bool) {
	v.coded = coded
	v.codes, v.kinds = v.codes[:0], v.kinds[:0]
	v.texts.Reset()
	v.dict.Reset()
	if coded {
		v.dict.Code([]byte{byte(Missing)})
	}
}

// target is where the values of a path are in the rows of a shape.
type target struct {
	found   bool
	slot    int    // of the value, or the first one in it
	stretch []byte // of the shape, where the value is an object or an array
	codes   []uint32
}

// Path reads what the rows from (inclusive) to (exclusive) have at a path of names, one or more, into dst.
func (r *Reader) Path(dst *Values, from, to int, path ...string) error {
	if err := r.aim(from, to, path); err != nil {
		return err
	}
	coded, err := r.load()
	if err != nil {
		return err
	}
	dst.reset(coded)
	if coded {
		r.codes(dst, from, to, path)
		return nil
	}
	return r.plain(dst, from, to, path)
}

// aim finds the path in the shapes that some rows have.
func (r *Reader) aim(from, to int, path []string) error {
	r.targets = slices.Grow(r.targets[:0], len(r.shapes))[:len(r.shapes)]
	clear(r.targets)
	if err := r.mark(from, to); err != nil {
		return err
	}
	for i := range r.shapes {
		s, t := &r.shapes[i], &r.targets[i]
		if !r.present[rowShapes+i] {
			continue
		}
		v, found := locate(s.skeleton, path)
		if t.found = found; !found {
			continue
		}
		t.slot = s.first + bytes.Count(s.skeleton[:v.from], []byte{mark})
		if s.skeleton[v.from] != mark {
			t.stretch = s.skeleton[v.from:v.to]
		}
	}
	return nil
}

// load decodes what the path leads to, and says whether all of it is coded.
func (r *Reader) load() (coded bool, err error) {
	coded = true
	for i := range r.targets {
		t := &r.targets[i]
		if !t.found {
			continue
		}
		slots := 1
		if t.stretch != nil {
			slots, coded = bytes.Count(t.stretch, []byte{mark}), false
		}
		for k := range slots {
			s := &r.slots[t.slot+k]
			if err := r.decode(s); err != nil {
				return false, err
			}
			_, yes := s.values.Codes()
			coded = coded && yes
		}
	}
	return coded, nil
}

// codes fills dst where all shapes that have the path are coded there.
func (r *Reader) codes(dst *Values, from, to int, path []string) {
	dst.reuse = dst.reuse[:0]
	for i := range r.targets {
		t := &r.targets[i]
		if !t.found {
			continue
		}
		slot := &r.slots[t.slot]
		n := slot.values.DictLen()
		for code := range n {
			kind, raw := kindOf(slot.values.DictAt(uint32(code)), slot.mode)
			dst.reuse = append(dst.reuse, r.intern(dst, kind, raw))
		}
	}
	at := 0
	for i := range r.targets {
		if t := &r.targets[i]; t.found {
			n := r.slots[t.slot].values.DictLen()
			t.codes = dst.reuse[at : at+n]
			at += n
		}
	}
	dst.codes = slices.Grow(dst.codes, to-from)[:to-from]
	ranks := r.ranks[from:to]
	for i, row := range r.rows[from:to] {
		code := uint32(0)
		switch {
		case row >= rowShapes:
			if t := &r.targets[row-rowShapes]; t.found {
				of, _ := r.slots[t.slot].values.Codes()
				code = t.codes[of[ranks[i]]]
			}
		case row == rowWhole:
			if kind, raw := search(r.texts.values.At(int(ranks[i])), path); kind != Missing {
				code = r.intern(dst, kind, raw)
			}
		}
		dst.codes[i] = code
	}
}

func (r *Reader) intern(dst *Values, kind Kind, raw []byte) uint32 {
	r.scratch = append(append(r.scratch[:0], byte(kind)), raw...)
	return dst.dict.Code(r.scratch)
}

// plain fills dst row by row.
func (r *Reader) plain(dst *Values, from, to int, path []string) error {
	ranks := r.ranks[from:to]
	for i, row := range r.rows[from:to] {
		kind, raw := Missing, []byte(nil)
		switch {
		case row >= rowShapes:
			s, t := &r.shapes[row-rowShapes], &r.targets[row-rowShapes]
			switch {
			case !t.found:
			case t.stretch != nil:
				r.scratch = r.append(r.scratch[:0], s, t.stretch, t.slot, int(ranks[i]))
				kind, raw = Other, r.scratch
			default:
				slot := &r.slots[t.slot]
				kind, raw = kindOf(slot.values.At(int(ranks[i])), slot.mode)
			}
		case row == rowWhole:
			kind, raw = search(r.texts.values.At(int(ranks[i])), path)
		}
		if dst.texts.Bytes()+len(raw) > column.MaxBytes {
			return corrupt("values are too long")
		}
		dst.kinds = append(dst.kinds, kind)
		dst.texts.Append(raw)
	}
	return nil
}

// search finds the value at a path of a whole text.
func search(text []byte, path []string) (Kind, []byte) {
	v, found := locate(text, path)
	if !found {
		return Missing, nil
	}
	return kindOf(text[v.from:v.to], modeMixed)
}

// kindOf tells a value's kind from its text.
func kindOf(text []byte, m mode) (Kind, []byte) {
	if m == modeStrings {
		return String, text
	}
	if len(text) == 0 {
		return Missing, nil
	}
	switch text[0] {
	case '"':
		if len(text) < 2 { // only in what is corrupt
			return String, nil
		}
		return String, text[1 : len(text)-1]
	case 'n':
		return Null, text
	case 't', 'f':
		return Bool, text
	case '{', '[':
		return Other, text
	}
	return Number, text
}
