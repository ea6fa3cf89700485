package process

import (
	"unsafe"

	"github.com/pulsestream/pulsestream/internal/offheap"
)

// tableMemory gives tables memory of the operating system's own, where it can. In the garbage collector's heap tables of 2 GB would let it gather as much
// garbage again before it looks. A table gets addresses for all that it may grow to, and grows into them, so no page is taken twice: a new page costs more than
// filling it.
type tableMemory struct {
	bytes int // of the pages that tables have used
	turn  int // times that a table was filled
}

const (
	entrySize = int(unsafe.Sizeof(entry{}))
	pageSize  = 4 << 10
	// wholeTable is how many entries a table has room for that is to be made two when it is full.
	wholeTable = largeTable + largeTable*7/16 + 128
)

// resize gives a table n entries, which hold anything.
func (m *tableMemory) resize(s *shard, n int) {
	if n > cap(s.entries) || s.touched-pages(n) > s.touched/4 {
		m.free(s)
		m.allocate(s, max(n, wholeTable))
	}
	m.bytes -= s.touched
	s.entries = s.entries[:n]
	s.touched = max(s.touched, pages(n))
	m.bytes += s.touched
}

func (m *tableMemory) allocate(s *shard, n int) {
	if s.mapped = offheap.Map(n * entrySize); s.mapped == nil {
		s.entries = make([]entry, 0, n)
		return
	}
	s.entries = unsafe.Slice((*entry)(unsafe.Pointer(unsafe.SliceData(s.mapped))), n)[:0] //nolint:gosec // whole pages
}

// free takes a table's memory back. Nobody may have a use for its entries any more.
func (m *tableMemory) free(s *shard) {
	if s.mapped != nil {
		offheap.Unmap(s.mapped)
	}
	m.bytes -= s.touched
	s.mapped, s.entries, s.touched = nil, nil, 0
}

// pages is how many bytes the pages of n entries have.
func pages(n int) int { return (n*entrySize + pageSize - 1) &^ (pageSize - 1) }
