// Package column turns the columns of a block of rows into bytes and back.
//
// A column is written in the smallest of a few forms, each of which reads back in one or two simple loops: numbers as a constant, as
// bit-packed differences from a base or from their predecessor, as runs or as codes of a small dictionary; texts as a dictionary with
// codes, as decimal numbers, as fields of a fixed template (the ids of most vendors), or as they are, with zstd where that is smaller.
//
// The functions know nothing of files. They keep no checksum either: who stores the bytes does. Bytes that are no column give an
// error that wraps ErrCorrupt, never a panic, and no more memory than MaxBytes of text and a few words a row.
package column

import (
	"encoding/binary"
	"errors"
	"fmt"
)

const (
	// MaxBytes is the most that the texts of one column may have together. A block must be cut before it is reached.
	MaxBytes = 1 << 28
	// MaxRows is the most rows that a column of texts may have.
	MaxRows = 1 << 20
	// MaxInts is the most that a column of numbers may have. Blocks of rollups had up to 8192 times some 7600 places of distinct values, which is
	// what takes up the 16 KiB that a row keeps them in, before they were cut.
	MaxInts = 1 << 26
)

// ErrCorrupt is wrapped by the errors of what does not read back: the bytes are not, or no longer, those that were written.
var ErrCorrupt = errors.New("column is corrupt")

func corrupt(what string) error { return fmt.Errorf("%w: %s", ErrCorrupt, what) }

// reader takes numbers from the front of src. After the end it gives zeros and is failed.
type reader struct {
	src    []byte
	failed bool
}

func (r *reader) byte() byte {
	if len(r.src) == 0 {
		r.failed = true
		return 0
	}
	b := r.src[0]
	r.src = r.src[1:]
	return b
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.src)
	if n <= 0 {
		r.failed, r.src = true, nil
		return 0
	}
	r.src = r.src[n:]
	return v
}

// varint reads what binary.AppendVarint wrote.
func (r *reader) varint() int64 {
	v, n := binary.Varint(r.src)
	if n <= 0 {
		r.failed, r.src = true, nil
		return 0
	}
	r.src = r.src[n:]
	return v
}

// count reads a number that may be at most limit.
func (r *reader) count(limit int) int {
	v := r.uvarint()
	if limit < 0 || v > uint64(limit) {
		r.failed, r.src = true, nil
		return 0
	}
	return int(v) //nolint:gosec // at most limit
}

// take cuts off the next n bytes.
func (r *reader) take(n int) []byte {
	if n < 0 || n > len(r.src) {
		r.failed, r.src = true, nil
		return nil
	}
	b := r.src[:n]
	r.src = r.src[n:]
	return b
}

// sized cuts off bytes that their number precedes.
func (r *reader) sized() []byte { return r.take(r.count(len(r.src))) }

// appendSized appends b behind its length.
func appendSized(dst, b []byte) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(b))), b...)
}

// grown is s with length n, in its own memory where that is enough. What it holds is of no meaning.
func grown[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n, n+n/4)
	}
	return s[:n]
}
