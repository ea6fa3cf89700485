package series

import (
	"encoding/binary"
	"errors"
	"math"
)

// An aggregate on its way to another process: a byte of flags, the counts, the numbers, then what the sketches are made of. One of a single
// observation stays one, which Sketches would spell out.
const (
	codecHash     byte = 1 << iota // hash follows
	codecValues                    // of the form hasValues
	codecSketches                  // encoded sketches follow
	codecSame                      // Sum, Min, Max and Last are one number
)

// ErrAgg is returned for bytes that are not an encoded aggregate.
var ErrAgg = errors.New("not an encoded aggregate")

// Append encodes a behind dst.
func (a *Agg) Append(dst []byte) []byte {
	var flags byte
	if a.form&explicit != 0 {
		flags |= codecSketches
	} else {
		if a.form&hasHash != 0 {
			flags |= codecHash
		}
		if a.form&hasValues != 0 {
			flags |= codecValues
		}
	}
	same := math.Float64bits(a.Sum) == math.Float64bits(a.Min) && math.Float64bits(a.Max) == math.Float64bits(a.Min) && math.Float64bits(a.Last) == math.Float64bits(a.Min)
	if same {
		flags |= codecSame
	}
	dst = binary.AppendUvarint(append(dst, flags), a.Count)
	dst = binary.AppendUvarint(dst, a.Values)
	if a.Values > 0 {
		dst = binary.AppendVarint(dst, a.LastAt)
		dst = binary.BigEndian.AppendUint64(dst, math.Float64bits(a.Min))
		if !same {
			for _, f := range [...]float64{a.Sum, a.Max, a.Last} {
				dst = binary.BigEndian.AppendUint64(dst, math.Float64bits(f))
			}
		}
	}
	if flags&codecHash != 0 {
		dst = binary.BigEndian.AppendUint64(dst, a.hash)
	}
	if flags&codecSketches != 0 {
		sketches := a.Sketches()
		dst = append(binary.AppendUvarint(dst, uint64(len(sketches))), sketches...)
	}
	return dst
}

// ReadAgg reads the aggregate that b begins with, and returns what is behind it.
func ReadAgg(b []byte) (a Agg, rest []byte, err error) {
	if len(b) == 0 {
		return a, nil, ErrAgg
	}
	r := aggReader{b: b[1:]}
	flags := b[0]
	a.Count, a.Values = r.uvarint(), r.uvarint()
	if a.Values > 0 {
		a.LastAt = r.varint()
		a.Min = r.float()
		if a.Sum, a.Max, a.Last = a.Min, a.Min, a.Min; flags&codecSame == 0 {
			a.Sum, a.Max, a.Last = r.float(), r.float(), r.float()
		}
	}
	if flags&codecHash != 0 {
		a.hash = r.fixed()
		a.form |= hasHash
	}
	if flags&codecValues != 0 && a.Values > 0 {
		a.form |= hasValues
	}
	if flags&codecSketches != 0 {
		n := r.uvarint()
		if r.failed || n > uint64(len(r.b)) {
			return Agg{}, nil, ErrAgg
		}
		if err := a.SetSketches(r.b[:n]); err != nil {
			return Agg{}, nil, err
		}
		r.b = r.b[n:]
	}
	if r.failed {
		return Agg{}, nil, ErrAgg
	}
	return a, r.b, nil
}

// aggReader reads numbers; of what is too short it reads zeros, and remembers.
type aggReader struct {
	b      []byte
	failed bool
}

func (r *aggReader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	return r.took(v, n)
}

func (r *aggReader) varint() int64 {
	v, n := binary.Varint(r.b)
	if n <= 0 {
		r.failed = true
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *aggReader) took(v uint64, n int) uint64 {
	if n <= 0 {
		r.failed = true
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *aggReader) fixed() uint64 {
	if len(r.b) < 8 {
		r.failed = true
		return 0
	}
	return r.took(binary.BigEndian.Uint64(r.b), 8)
}

func (r *aggReader) float() float64 { return math.Float64frombits(r.fixed()) }
