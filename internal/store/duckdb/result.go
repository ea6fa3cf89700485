package duckdb

import (
	"bytes"
	"unsafe"

	"github.com/duckdb/duckdb-go/v2/mapping"
)

// result is what a query returned, read chunk by chunk. Columns are read by their index and the row's index within the
// chunk, straight from DuckDB's memory: reading a million rows one by one through database/sql costs some 500 ns and 10
// allocations a row.
type result struct {
	raw   mapping.Result
	chunk mapping.DataChunk
	rows  int
	cols  []column
}

// column is a vector of the chunk in hand. Its memory is DuckDB's.
type column struct {
	data  unsafe.Pointer
	valid unsafe.Pointer // nil: no nulls
	child *column        // of a list
}

// text is DuckDB's 16-byte string: up to 12 bytes are inside, more are elsewhere.
type text struct {
	length uint32
	inline [12]byte
}

// entry is a list's place among the items of all lists of a vector.
type entry struct{ offset, length uint64 }

// next fetches the next chunk; false at the end. What was read from the last one as a view is gone then.
func (r *result) next() bool {
	if r.chunk.Ptr != nil {
		mapping.DestroyDataChunk(&r.chunk)
	}
	if r.chunk = mapping.FetchChunk(r.raw); r.chunk.Ptr == nil {
		r.rows = 0
		return false
	}
	r.rows = int(mapping.DataChunkGetSize(r.chunk))    //nolint:gosec // at most 2048
	n := int(mapping.DataChunkGetColumnCount(r.chunk)) //nolint:gosec // a query has some dozen
	if r.cols == nil {
		r.cols = make([]column, n)
	}
	for i := range n {
		v := mapping.DataChunkGetVector(r.chunk, mapping.IdxT(i))
		r.cols[i].set(v)
		if mapping.ColumnType(&r.raw, mapping.IdxT(i)) == mapping.TypeList {
			r.cols[i].child = &column{}
			r.cols[i].child.set(mapping.ListVectorGetChild(v))
		}
	}
	return true
}

func (c *column) set(v mapping.Vector) {
	c.data, c.valid = mapping.VectorGetData(v), mapping.VectorGetValidity(v)
}

func (r *result) close() {
	if r.chunk.Ptr != nil {
		mapping.DestroyDataChunk(&r.chunk)
	}
	mapping.DestroyResult(&r.raw)
}

func at[T any](c *column, row int) T {
	return *(*T)(unsafe.Add(c.data, uintptr(row)*unsafe.Sizeof(*new(T))))
}

func (c *column) null(row int) bool {
	return c.valid != nil && *(*uint64)(unsafe.Add(c.valid, row/64*8))>>(row%64)&1 == 0
}

func (r *result) null(col, row int) bool       { return r.cols[col].null(row) }
func (r *result) int64(col, row int) int64     { return at[int64](&r.cols[col], row) }
func (r *result) int32(col, row int) int32     { return at[int32](&r.cols[col], row) }
func (r *result) uint64(col, row int) uint64   { return at[uint64](&r.cols[col], row) }
func (r *result) uint32(col, row int) uint32   { return at[uint32](&r.cols[col], row) }
func (r *result) float64(col, row int) float64 { return at[float64](&r.cols[col], row) }
func (r *result) bool(col, row int) bool       { return at[bool](&r.cols[col], row) }

// view is the bytes of a VARCHAR or BLOB in DuckDB's memory, nil for null; they are gone with the chunk.
func (r *result) view(col, row int) []byte { return r.cols[col].view(row) }

func (c *column) view(row int) []byte {
	if c.null(row) {
		return nil
	}
	t := (*text)(unsafe.Add(c.data, uintptr(row)*unsafe.Sizeof(text{})))
	if t.length <= uint32(len(t.inline)) {
		return t.inline[:t.length:t.length]
	}
	return unsafe.Slice(*(**byte)(unsafe.Pointer(&t.inline[4])), t.length) //nolint:gosec // where DuckDB keeps the pointer of a long string
}

func (r *result) string(col, row int) string { return string(r.view(col, row)) }

// bytes is a copy of a VARCHAR or BLOB, nil for null.
func (r *result) bytes(col, row int) []byte { return bytes.Clone(r.view(col, row)) }

// list calls each with a view of every item of a VARCHAR[].
func (r *result) list(col, row int, each func(item []byte)) {
	c := &r.cols[col]
	if c.null(row) {
		return
	}
	e := at[entry](c, row)
	for i := range e.length {
		each(c.child.view(int(e.offset + i))) //nolint:gosec // the place of an item in memory
	}
}

// asString is b as a string, for as long as b stays as it is.
func asString(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) } //nolint:gosec // saves a copy of every value
