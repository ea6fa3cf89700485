package offheap

import "sync"

// SlabSize is how many bytes a slab has: as many as one large page of the processors that this runs on.
const SlabSize = 2 << 20

// Slab is a piece of memory.
type Slab struct {
	Bytes []byte
	whole []byte // what was mapped for it, nil when it is the garbage collector's
}

// Slabs keeps slabs for the next one who needs some. The zero value is ready for use, from any goroutine.
type Slabs struct {
	mu     sync.Mutex
	free   []Slab
	taken  int
	closed bool
}

// Take gives a slab, which holds anything.
func (s *Slabs) Take() Slab {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.taken++
	if n := len(s.free); n > 0 {
		b := s.free[n-1]
		s.free[n-1] = Slab{}
		s.free = s.free[:n-1]
		return b
	}
	return newSlab()
}

// newSlab maps twice as much as is needed: a large page has to begin at a multiple of its size. What is never touched takes no memory.
func newSlab() Slab {
	whole := Map(2 * SlabSize)
	if whole == nil {
		return Slab{Bytes: make([]byte, SlabSize)}
	}
	skip := -address(whole) & (SlabSize - 1)
	b := whole[skip : skip+SlabSize : skip+SlabSize]
	large(b)
	return Slab{b, whole}
}

// Give takes back slabs that were in use together, and empties the list. Of those that are free beyond twice as many a quarter goes back to the operating
// system each time: so memory follows the load down, but not within a second.
func (s *Slabs) Give(slabs *[]Slab) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if spoil {
		for _, b := range *slabs {
			for i := range b.Bytes {
				b.Bytes[i] = 0xdb
			}
		}
	}
	n := len(*slabs)
	s.taken -= n
	s.free = append(s.free, *slabs...)
	*slabs = nil
	keep := 2 * n
	if over := len(s.free) - keep; over > 0 {
		keep += over * 3 / 4
	}
	if s.closed {
		keep = 0
	}
	s.shrink(keep)
}

// shrink gives all but keep of the free slabs back.
func (s *Slabs) shrink(keep int) {
	for i := keep; i < len(s.free); i++ {
		if s.free[i].whole != nil {
			Unmap(s.free[i].whole)
		}
		s.free[i] = Slab{}
	}
	s.free = s.free[:min(keep, len(s.free))]
}

// Held is how many slabs somebody has, and how many wait for somebody.
func (s *Slabs) Held() (taken, free int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.taken, len(s.free)
}

// Close gives all memory back, that of slabs which somebody has as soon as they are given.
func (s *Slabs) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	s.shrink(0)
}
