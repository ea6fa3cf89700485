package process

import (
	"unsafe"

	"github.com/pulsestream/pulsestream/internal/offheap"
)

// tableMemory gives tables memory that is not the garbage collector's: tables of 2 GB would let it gather as much garbage again before it looks.
type tableMemory struct {
	arena offheap.Arena
	turn  int // times that a table was filled
}

const entrySize = int(unsafe.Sizeof(entry{}))

// resize gives a table n entries, which hold anything, in its own memory if that is not too small or much too large.
func (m *tableMemory) resize(s *shard, n int) {
	if n > cap(s.entries) || cap(s.entries)-n > cap(s.entries)/8 {
		m.free(s)
		s.piece = m.arena.Alloc(n * entrySize)
		s.entries = unsafe.Slice((*entry)(unsafe.Pointer(unsafe.SliceData(s.piece.Bytes))), len(s.piece.Bytes)/entrySize) //nolint:gosec // whole pages
	}
	s.entries = s.entries[:n]
}

// free takes a table's memory back. Nobody may have a use for its entries any more.
func (m *tableMemory) free(s *shard) {
	if s.piece.Bytes != nil {
		m.arena.Free(s.piece)
	}
	s.piece, s.entries = offheap.Piece{}, nil
}
