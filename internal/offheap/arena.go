package offheap

import "slices"

// Arena gives pieces of memory of any size that come and go one by one, and lie close together on large pages: what is looked up all over a gigabyte spends its time
// waiting for the addresses of small ones. It is not for use by several goroutines at once. The zero value is ready for use.
type Arena struct {
	chunks []*chunk
	used   int // bytes of pieces
	bytes  int // of pages that were touched
}

const (
	// PageSize is what the sizes of pieces are rounded up to.
	PageSize = 4 << 10
	// chunkSize is how many addresses a chunk has; only pages that are touched take memory. The first chunk is small and of small pages, since most who have
	// an arena need no more.
	chunkSize, firstChunk = 32 << 20, 1 << 20
	// An arena keeps as many idle pages for the next piece as a quarter of what is in use, after Trim a sixteenth, or idleLeast bytes.
	idleShare, idleAtRest, idleLeast = 4, 16, SlabSize
)

// chunk is a stretch of addresses.
type chunk struct {
	mem, whole []byte
	page       int // bytes of its pages
	touched    []bool
	free       []extent // by address, none adjacent
}

// extent is a stretch of a chunk that is free, in bytes.
type extent struct{ from, to int }

// Piece is memory from an Arena.
type Piece struct {
	Bytes []byte
	chunk *chunk // nil: the garbage collector's
	from  int
}

// Alloc gives a piece of at least n bytes, at the lowest address where there is room. It holds anything.
func (a *Arena) Alloc(n int) Piece {
	n = (n + PageSize - 1) &^ (PageSize - 1)
	for _, c := range a.chunks {
		if p, ok := a.take(c, n); ok {
			return p
		}
	}
	size, page := max(chunkSize, (n+SlabSize-1)&^(SlabSize-1)), SlabSize
	if len(a.chunks) == 0 && n <= firstChunk {
		size, page = firstChunk, PageSize
	}
	c := newChunk(size, page)
	if c == nil {
		a.used += n
		a.bytes += n
		return Piece{Bytes: make([]byte, n)}
	}
	a.chunks = append(a.chunks, c)
	p, _ := a.take(c, n)
	return p
}

// newChunk maps more than is needed, since large pages begin at a multiple of their size.
func newChunk(size, page int) *chunk {
	whole := Map(size + page)
	if whole == nil {
		return nil
	}
	skip := -address(whole) & (page - 1)
	c := &chunk{mem: whole[skip : skip+size : skip+size], whole: whole, page: page, touched: make([]bool, size/page), free: []extent{{0, size}}}
	if page == SlabSize {
		large(c.mem)
	}
	return c
}

func (a *Arena) take(c *chunk, n int) (Piece, bool) {
	for i := range c.free {
		e := &c.free[i]
		if e.to-e.from < n {
			continue
		}
		from := e.from
		if e.from += n; e.from == e.to {
			c.free = slices.Delete(c.free, i, i+1)
		}
		for p := from / c.page; p <= (from+n-1)/c.page; p++ {
			if !c.touched[p] {
				c.touched[p] = true
				a.bytes += c.page
			}
		}
		a.used += n
		return Piece{Bytes: c.mem[from : from+n : from+n], chunk: c, from: from}, true
	}
	return Piece{}, false
}

// Free takes a piece back. Nobody may have a use for it any more.
func (a *Arena) Free(p Piece) {
	n := len(p.Bytes)
	a.used -= n
	c := p.chunk
	if c == nil {
		a.bytes -= n
		return
	}
	i, _ := slices.BinarySearchFunc(c.free, p.from, func(e extent, from int) int { return e.from - from })
	c.free = slices.Insert(c.free, i, extent{p.from, p.from + n})
	if i+1 < len(c.free) && c.free[i].to == c.free[i+1].from {
		c.free[i].to = c.free[i+1].to
		c.free = slices.Delete(c.free, i+1, i+2)
	}
	if i > 0 && c.free[i-1].to == c.free[i].from {
		c.free[i-1].to = c.free[i].to
		c.free = slices.Delete(c.free, i, i+1)
	}
	a.trim(idleShare)
}

// Trim lets go of idle pages but for a few. Whoever has pieces come and go calls it now and then, not each time: a page that is let go of is dear to have again.
func (a *Arena) Trim() { a.trim(idleAtRest) }

// trim lets go of pages that nothing is on while there are many, the last ones first.
func (a *Arena) trim(share int) {
	most := a.used + max(a.used/share, idleLeast)
	for i := len(a.chunks) - 1; i >= 0 && a.bytes > most; i-- {
		c := a.chunks[i]
		for k := len(c.free) - 1; k >= 0 && a.bytes > most; k-- {
			e, held := c.free[k], a.bytes
			first, end := e.to/c.page, e.to/c.page
			for (first-1)*c.page >= e.from && a.bytes > most {
				if first--; c.touched[first] {
					c.touched[first] = false
					a.bytes -= c.page
				}
			}
			if a.bytes < held {
				forget(c.mem[first*c.page : end*c.page])
			}
		}
	}
}

// Bytes is how much memory the arena has.
func (a *Arena) Bytes() int { return a.bytes }

// Close gives all memory back. Nobody may have a use for any piece any more.
func (a *Arena) Close() {
	for _, c := range a.chunks {
		Unmap(c.whole)
	}
	*a = Arena{}
}
