package duckdb

import (
	"fmt"
	"unicode/utf8"
	"unsafe"

	"github.com/duckdb/duckdb-go/v2/mapping"

	"github.com/pulsestream/pulsestream/internal/store"
)

// maxInline is how many bytes of a string DuckDB keeps in place.
const maxInline = 12

// writable is a vector of a chunk that is being filled.
type writable struct {
	raw   mapping.Vector
	data  unsafe.Pointer
	valid unsafe.Pointer // nil until a null was put
}

// filling is a chunk that is being filled. Columns count from 0, rows from 0 in each chunk.
type filling struct {
	cols []writable
	err  error // the first that went wrong
}

// appendRows adds n rows to a table, inside the transaction that the connection has begun. Fill puts the rows from (inclusive)
// to (exclusive) into rows 0… of a chunk. Chunks are written in place: 5 times as fast as the driver's AppendRow.
func (c *conn) appendRows(table string, n int, fill func(f *filling, from, to int)) error {
	var a mapping.Appender
	if mapping.AppenderCreate(c.raw, "", table, &a) == mapping.StateError {
		err := &engineError{message: mapping.AppenderError(a)}
		mapping.AppenderDestroy(&a)
		return err
	}
	err := c.appendChunks(a, n, fill)
	if err == nil && mapping.AppenderFlush(a) == mapping.StateError {
		err = &engineError{message: mapping.AppenderError(a)}
	}
	if err != nil {
		mapping.AppenderClear(a) // or destroying it would write what it holds
	}
	mapping.AppenderDestroy(&a)
	if err != nil {
		return fmt.Errorf("cannot append to %s: %w", table, err)
	}
	return nil
}

func (c *conn) appendChunks(a mapping.Appender, n int, fill func(f *filling, from, to int)) error {
	types := make([]mapping.LogicalType, mapping.AppenderColumnCount(a))
	for i := range types {
		types[i] = mapping.AppenderColumnType(a, mapping.IdxT(i))
		defer mapping.DestroyLogicalType(&types[i])
	}
	chunk := mapping.CreateDataChunk(types)
	defer mapping.DestroyDataChunk(&chunk)
	f := filling{cols: make([]writable, len(types))}
	most := int(mapping.VectorSize()) //nolint:gosec // 2048
	for from := 0; from < n; from += most {
		to := min(from+most, n)
		if from > 0 {
			mapping.DataChunkReset(chunk)
		}
		for i := range f.cols {
			f.cols[i].set(mapping.DataChunkGetVector(chunk, mapping.IdxT(i)))
		}
		fill(&f, from, to)
		if f.err != nil {
			return f.err
		}
		mapping.DataChunkSetSize(chunk, mapping.IdxT(to-from)) //nolint:gosec // at most 2048
		if mapping.AppendDataChunk(a, chunk) == mapping.StateError {
			return &engineError{message: mapping.AppenderError(a)}
		}
	}
	return nil
}

func (w *writable) set(v mapping.Vector) { *w = writable{raw: v, data: mapping.VectorGetData(v)} }

func put[T any](w *writable, row int, v T) {
	*(*T)(unsafe.Add(w.data, uintptr(row)*unsafe.Sizeof(v))) = v
}

func (w *writable) null(row int) {
	if w.valid == nil {
		mapping.VectorEnsureValidityWritable(w.raw)
		w.valid = mapping.VectorGetValidity(w.raw)
	}
	*(*uint64)(unsafe.Add(w.valid, row/64*8)) &^= 1 << (row % 64)
}

// string puts bytes as a VARCHAR or BLOB. A VARCHAR must be UTF-8, which the caller has checked: DuckDB would make it null.
func (w *writable) string(row int, s string) {
	if len(s) > maxInline {
		mapping.VectorAssignStringElement(w.raw, mapping.IdxT(row), s) //nolint:gosec // a row of a chunk
		return
	}
	t := text{length: uint32(len(s))} //nolint:gosec // at most maxInline
	copy(t.inline[:], s)
	put(w, row, t)
}

func (f *filling) int64(col, row int, v int64)     { put(&f.cols[col], row, v) }
func (f *filling) int32(col, row int, v int32)     { put(&f.cols[col], row, v) }
func (f *filling) uint64(col, row int, v uint64)   { put(&f.cols[col], row, v) }
func (f *filling) uint32(col, row int, v uint32)   { put(&f.cols[col], row, v) }
func (f *filling) float64(col, row int, v float64) { put(&f.cols[col], row, v) }
func (f *filling) bool(col, row int, v bool)       { put(&f.cols[col], row, v) }
func (f *filling) null(col, row int)               { f.cols[col].null(row) }

// string puts a VARCHAR. One that is not UTF-8 fails the whole append: nothing is stored that could not be read back as it was.
func (f *filling) string(col, row int, s string) {
	if !utf8.ValidString(s) {
		f.fail(col, s)
		return
	}
	f.cols[col].string(row, s)
}

// optional puts a VARCHAR, null for nil.
func (f *filling) optional(col, row int, b []byte) {
	switch {
	case b == nil:
		f.cols[col].null(row)
	case !utf8.Valid(b):
		f.fail(col, string(b))
	default:
		f.cols[col].string(row, asString(b))
	}
}

// blob puts a BLOB, null for nil.
func (f *filling) blob(col, row int, b []byte) {
	if b == nil {
		f.cols[col].null(row)
		return
	}
	f.cols[col].string(row, asString(b))
}

func (f *filling) fail(col int, s string) {
	if f.err == nil {
		f.err = fmt.Errorf("column %d: %.100q is not UTF-8: %w", col, s, store.ErrRefused)
	}
}
