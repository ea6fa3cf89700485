package shred

import (
	"math"
	"slices"
	"strconv"
)

// Numbers reads the numbers that the rows from (inclusive) to (exclusive) have at a path, into the memory of dst. It is NaN where a row has none there, or has something
// that is not a number; one beyond the range of a float64 is infinite. It is quicker than to go by the texts of Path, which for most
// columns of numbers have to be made first.
func (r *Reader) Numbers(dst []float64, from, to int, path ...string) ([]float64, error) {
	if err := r.aim(from, to, path); err != nil {
		return dst[:0], err
	}
	for i := range r.targets {
		if t := &r.targets[i]; t.found && t.stretch == nil {
			if err := r.number(&r.slots[t.slot]); err != nil {
				return dst[:0], err
			}
		}
	}
	dst = slices.Grow(dst[:0], to-from)[:to-from]
	ranks := r.ranks[from:to]
	for i, row := range r.rows[from:to] {
		dst[i] = math.NaN()
		switch {
		case row >= rowShapes:
			if t := &r.targets[row-rowShapes]; t.found && t.stretch == nil {
				dst[i] = r.slots[t.slot].float(ranks[i])
			}
		case row == rowWhole:
			dst[i] = floatOf(search(r.texts.values.At(int(ranks[i])), path))
		}
	}
	return dst, nil
}

// number makes sure that the numbers of a slot are known: of its rows, or of the texts of its dictionary.
func (r *Reader) number(s *stored) error {
	if s.numeric {
		return nil
	}
	if s.mode == modePlain && !s.decoded {
		var err error
		if s.floats, s.numeric, err = r.columns.Floats(s.floats, s.src, s.rows); err != nil || s.numeric {
			return err
		}
	}
	if err := r.decode(s); err != nil {
		return err
	}
	s.numeric, s.floats = true, s.floats[:0]
	if _, coded := s.values.Codes(); coded {
		for code := range s.values.DictLen() {
			s.floats = append(s.floats, floatOf(kindOf(s.values.DictAt(uint32(code)), s.mode)))
		}
		return nil
	}
	for i := range s.rows {
		s.floats = append(s.floats, floatOf(kindOf(s.values.At(i), s.mode)))
	}
	return nil
}

// float is the number of a row among those of the shape.
func (s *stored) float(rank uint32) float64 {
	if s.decoded {
		if codes, coded := s.values.Codes(); coded {
			rank = codes[rank]
		}
	}
	return s.floats[rank]
}

func floatOf(kind Kind, raw []byte) float64 {
	if kind != Number {
		return math.NaN()
	}
	v, err := strconv.ParseFloat(string(raw), 64)
	if err != nil && !math.IsInf(v, 0) { // only in what is no JSON
		return math.NaN()
	}
	return v
}
