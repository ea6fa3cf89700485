package pieces

import (
	"encoding/binary"
	"fmt"
)

// AppendText appends a text to a directory.
func AppendText(dst []byte, s string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

// AppendPlace appends a piece to a directory. Pieces follow each other in the file, so their lengths tell their places.
func AppendPlace(dst []byte, p Place) []byte {
	return binary.LittleEndian.AppendUint32(binary.AppendUvarint(dst, uint64(p.Len)), p.CRC)
}

// Directory reads a directory; the first thing that cannot be is kept.
type Directory struct {
	b   []byte
	at  int64 // of the next piece in the file
	end int64 // behind the last piece
	bad error
}

// NewDirectory reads the directory of a file whose pieces stand from MagicSize to end.
func NewDirectory(b []byte, end int64) *Directory { return &Directory{b: b, at: MagicSize, end: end} }

// Err is what cannot be, nil as long as there is no such thing.
func (r *Directory) Err() error { return r.bad }

// End is Err when all was read that there should be: a directory names the whole file.
func (r *Directory) End() error {
	if r.bad == nil && (len(r.b) > 0 || r.at != r.end) {
		r.Fail("other pieces than the file")
	}
	return r.bad
}

// Fail says what cannot be.
func (r *Directory) Fail(what string) {
	if r.bad == nil {
		r.bad = fmt.Errorf("%w: its directory has %s", ErrDamaged, what)
	}
	r.b = nil
}

// Uvarint reads a number as binary.AppendUvarint writes it.
func (r *Directory) Uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.Fail("no number where one belongs")
		return 0
	}
	r.b = r.b[n:]
	return v
}

// Varint reads a number as binary.AppendVarint writes it.
func (r *Directory) Varint() int64 {
	v, n := binary.Varint(r.b)
	if n <= 0 {
		r.Fail("no number where one belongs")
		return 0
	}
	r.b = r.b[n:]
	return v
}

// Count reads how many of something follow, each of which takes at least one byte.
func (r *Directory) Count() int {
	v := r.Uvarint()
	if v > uint64(len(r.b)) {
		r.Fail("more entries than bytes")
		return 0
	}
	return int(v) //nolint:gosec // bounded above
}

// Text reads a text.
func (r *Directory) Text() string {
	n := r.Count()
	s := string(r.b[:min(n, len(r.b))])
	r.b = r.b[len(s):]
	return s
}

// Place reads the next piece.
func (r *Directory) Place() Place {
	n := r.Uvarint()
	if len(r.b) < 4 || n > uint64(r.end-r.at) { //nolint:gosec // at never passes end
		r.Fail("a piece that reaches beyond the file")
		return Place{}
	}
	p := Place{Off: r.at, Len: uint32(n), CRC: binary.LittleEndian.Uint32(r.b)} //nolint:gosec // bounded by the file's length, see Open
	r.b = r.b[4:]
	r.at += int64(n) //nolint:gosec // bounded above
	return p
}
