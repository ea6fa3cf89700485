package offheap

import (
	"bytes"
	"math/rand/v2"
	"sync"
	"testing"
)

// held is a piece with what was written into it.
type held struct {
	piece Piece
	mark  byte
}

func TestPiecesNeverOverlapAndComeBackAsOneAgain(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var a Arena
	defer a.Close()
	var all []held
	used := 0
	for i := range 20_000 {
		if len(all) > 0 && r.IntN(100) < 48 {
			k := r.IntN(len(all))
			h := all[k]
			if h.piece.Bytes[0] != h.mark || !bytes.Equal(h.piece.Bytes[1:], h.piece.Bytes[:len(h.piece.Bytes)-1]) {
				t.Fatalf("step %d: somebody else has written into a piece of %d bytes", i, len(h.piece.Bytes))
			}
			a.Free(h.piece)
			used -= len(h.piece.Bytes)
			all[k] = all[len(all)-1]
			all = all[:len(all)-1]
		} else {
			n := 1 + r.IntN(40*PageSize)
			if r.IntN(1000) == 0 {
				n = chunkSize + 1
			}
			p := a.Alloc(n)
			if len(p.Bytes) < n || len(p.Bytes)%PageSize != 0 {
				t.Fatalf("%d bytes were given for %d", len(p.Bytes), n)
			}
			mark := byte(r.Uint32())
			for k := range p.Bytes {
				p.Bytes[k] = mark
			}
			all, used = append(all, held{p, mark}), used+len(p.Bytes)
		}
		if a.used != used || a.Bytes() < used {
			t.Fatalf("step %d: %d bytes in use, %d held, want %d", i, a.used, a.Bytes(), used)
		}
	}
	for _, h := range all {
		a.Free(h.piece)
	}
	for _, c := range a.chunks {
		if len(c.free) != 1 || c.free[0] != (extent{0, len(c.mem)}) {
			t.Errorf("of a chunk of %d bytes %v are free", len(c.mem), c.free)
		}
	}
	if a.used != 0 || a.Bytes() > idleLeast {
		t.Errorf("an empty arena holds %d bytes", a.Bytes())
	}
}

func TestWhoNeedsLittleHasSmallPagesOnly(t *testing.T) {
	var a Arena
	defer a.Close()
	a.Alloc(100)
	if a.Bytes() != PageSize {
		t.Errorf("%d bytes for 100", a.Bytes())
	}
}

func TestSlabsAreGivenToTheNextOne(t *testing.T) {
	var s Slabs
	defer s.Close()
	var busy []Slab
	for range 40 {
		busy = append(busy, s.Take())
	}
	for i, b := range busy {
		if len(b.Bytes) != SlabSize || address(b.Bytes)%SlabSize != 0 {
			t.Fatalf("slab %d has %d bytes and begins at %x", i, len(b.Bytes), address(b.Bytes))
		}
		b.Bytes[SlabSize-1] = 1
	}
	first := &busy[39].Bytes[0]
	s.Give(&busy)
	if taken, free := s.Held(); taken != 0 || free != 40 || busy != nil {
		t.Fatalf("%d taken, %d free of 40 that came back", taken, free)
	}
	if b := s.Take(); &b.Bytes[0] != first {
		t.Error("a new slab was made while there were others")
	} else {
		s.Give(&[]Slab{b})
	}
	// Where one is enough from then on, the others go back little by little.
	_, free := s.Held()
	for range 20 {
		one := []Slab{s.Take()}
		s.Give(&one)
		_, now := s.Held()
		if now > free || free-now > free/4+1 {
			t.Fatalf("%d free slabs became %d", free, now)
		}
		free = now
	}
	if free > 4 {
		t.Errorf("%d slabs are kept for one who needs one", free)
	}
}

func TestSlabsMayComeBackAfterTheEnd(t *testing.T) {
	var s Slabs
	late := []Slab{s.Take()}
	s.Close()
	s.Give(&late)
	if taken, free := s.Held(); taken != 0 || free != 0 {
		t.Errorf("%d taken, %d free after the end", taken, free)
	}
}

func TestSlabsAreForAnyGoroutine(t *testing.T) {
	var s Slabs
	defer s.Close()
	var all sync.WaitGroup
	for g := range byte(4) {
		all.Go(func() {
			for range 200 {
				mine := []Slab{s.Take(), s.Take()}
				mine[0].Bytes[0], mine[1].Bytes[0] = g, g
				if mine[0].Bytes[0] != g || mine[1].Bytes[0] != g {
					t.Error("two have the same slab")
				}
				s.Give(&mine)
			}
		})
	}
	all.Wait()
}
