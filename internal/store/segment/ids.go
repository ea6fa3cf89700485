package segment

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"slices"

	"github.com/pulsestream/pulsestream/internal/store/pieces"
)

// A tenant's index of ids says in which of its blocks of a segment an identity may be. It is a hash table of lines of 64 bytes. An entry has some bits
// of the identity's hash, the print, and the number of the block, in as few bits as the tenant's number of blocks needs; which line is its home follows
// from other bits. What finds no room at home stands in the next line, and the line that had none says so.
//
// A look reads the home, and the line behind it with the same call. A line has a checksum of its own: if what is checked were the whole index, the first look
// for a tenant's event among 100 million would read all of its indexes. Of the identities that are not there one in some 600 is found all the same, and
// costs decoding the ids of one block.
//
//	checksum of the rest: 4 | entries: 7 bits, whether more stand in the next line: 1 bit | entries
const (
	lineHead  = 5
	lineBits  = 8 * (lineBytes - lineHead)
	printBits = 14
	lineFull  = 1 << 7 // more stand in the next line
	// A line is filled to 17 parts of 20 on average: one in six is full then.
	fillOf, fillFrom = 17, 20
)

// idForm is what follows from a tenant's numbers of rows and blocks.
type idForm struct {
	blockBits int
	room      int // entries of a line
	homes     int // lines that are homes
}

func idFormOf(rows, blocks int) idForm {
	f := idForm{blockBits: bits.Len(uint(max(blocks, 1) - 1)), homes: 1}
	f.room = lineBits / f.width()
	if rows > f.room {
		f.homes = (rows*fillFrom + f.room*fillOf - 1) / (f.room * fillOf)
	}
	return f
}

func (f idForm) width() int        { return printBits + f.blockBits }
func (f idForm) home(h uint64) int { return int((h >> 32) * uint64(f.homes) >> 32) } //nolint:gosec // below homes
func printOf(h uint64) uint64      { return h & (1<<printBits - 1) }

// idEncoder makes indexes. It keeps its memory for the next one.
type idEncoder struct {
	hashes  []uint64 // of a tenant's rows, in their order
	starts  []int    // of the entries of each home
	entries []uint64 // by home
	line    [lineBytes + 8]byte
}

// begin forgets the rows.
func (e *idEncoder) begin() { e.hashes = e.hashes[:0] }

// add takes the next row.
func (e *idEncoder) add(hash uint64) { e.hashes = append(e.hashes, hash) }

// append appends the index of the rows that were added, which lie in these blocks.
func (e *idEncoder) append(dst []byte, blocks []blockEntry) []byte {
	f := idFormOf(len(e.hashes), len(blocks))
	e.gather(f, blocks)
	dst = slices.Grow(dst, (f.homes+1)*lineBytes)
	next := 0
	for home := range f.homes {
		end := e.starts[home+1]
		n := min(end-next, f.room)
		dst = e.put(dst, f, e.entries[next:next+n], next+n < end)
		next += n
	}
	for end := e.starts[f.homes]; next < end; {
		n := min(end-next, f.room)
		dst = e.put(dst, f, e.entries[next:next+n], next+n < end)
		next += n
	}
	return dst
}

// gather orders the entries by their homes.
func (e *idEncoder) gather(f idForm, blocks []blockEntry) {
	e.starts = slices.Grow(e.starts[:0], f.homes+1)[:f.homes+1]
	clear(e.starts)
	for _, h := range e.hashes {
		e.starts[f.home(h)+1]++
	}
	most := 0
	for i := range f.homes {
		most = max(most, e.starts[i+1])
		e.starts[i+1] += e.starts[i]
	}
	e.entries = slices.Grow(e.entries[:0], len(e.hashes))[:len(e.hashes)]
	row := 0
	for i := range blocks {
		for _, h := range e.hashes[row : row+blocks[i].rows] {
			to := &e.starts[f.home(h)]
			e.entries[*to] = printOf(h)<<f.blockBits | uint64(i)
			*to++
		}
		row += blocks[i].rows
	}
	copy(e.starts[1:], e.starts) // each has become the end of its own
	e.starts[0] = 0
	if most > 3*f.room {
		e.compact(f)
	}
}

// compact leaves of equal entries one: identities that come again and again in one block, as they may when senders give no ids, must not make a
// table that is one long line.
func (e *idEncoder) compact(f idForm) {
	kept, from := 0, 0
	for home := range f.homes {
		own := e.entries[from:e.starts[home+1]]
		from = e.starts[home+1]
		slices.Sort(own)
		kept += copy(e.entries[kept:], slices.Compact(own))
		e.starts[home+1] = kept
	}
}

// put appends a line.
func (e *idEncoder) put(dst []byte, f idForm, entries []uint64, full bool) []byte {
	l := &e.line
	clear(l[:])
	l[4] = byte(len(entries)) //nolint:gosec // at most room
	if full {
		l[4] |= lineFull
	}
	at := 0
	for _, v := range entries {
		to := l[lineHead+at>>3:]
		binary.LittleEndian.PutUint64(to, binary.LittleEndian.Uint64(to)|v<<(at&7))
		at += f.width()
	}
	binary.LittleEndian.PutUint32(l[:], pieces.Checksum(l[4:lineBytes]))
	return append(dst, l[:lineBytes]...)
}

// idLooker looks into indexes.
type idLooker struct {
	lines  [2*lineBytes + 8]byte
	blocks []int // that were found
}

// look leaves in l.blocks those of a tenant's blocks in which an identity of this hash may be.
func (l *idLooker) look(s *Segment, e *tenantEntry, h uint64) error {
	l.blocks = l.blocks[:0]
	f, lines := idFormOf(e.rows, len(e.blocks)), int(e.ids.Len/lineBytes)
	if e.ids.Len%lineBytes != 0 || lines < f.homes {
		return s.badIDs(e, "it has %d bytes", e.ids.Len)
	}
	for at := f.home(h); at < lines; at += 2 {
		n := min(2, lines-at)
		_, err := s.ReadInto(l.lines[:n*lineBytes], pieces.Place{Off: e.ids.Off + int64(at)*lineBytes, Len: uint32(n * lineBytes)}, false) //nolint:gosec // at most two lines
		if err != nil {
			return err
		}
		for i := range n {
			full, err := l.line(s, e, f, i, h)
			if err != nil || !full {
				return err
			}
		}
	}
	return s.badIDs(e, "its last line is not the last")
}

// line looks into one of the lines that were read, and says whether more stand in the next.
func (l *idLooker) line(s *Segment, e *tenantEntry, f idForm, i int, h uint64) (full bool, err error) {
	line := l.lines[i*lineBytes:]
	if binary.LittleEndian.Uint32(line) != pieces.Checksum(line[4:lineBytes]) {
		return false, s.badIDs(e, "a checksum is wrong")
	}
	count := int(line[4] &^ lineFull)
	if count > f.room {
		return false, s.badIDs(e, "a line has %d entries", count)
	}
	want, mask := printOf(h), uint64(1)<<f.width()-1
	for j := range count {
		at := j * f.width()
		v := binary.LittleEndian.Uint64(line[lineHead+at>>3:]) >> (at & 7) & mask
		if v>>f.blockBits != want {
			continue
		}
		b := int(v & (1<<f.blockBits - 1)) //nolint:gosec // few bits
		if b >= len(e.blocks) {
			return false, s.badIDs(e, "it names a block that is not there")
		}
		if !slices.Contains(l.blocks, b) {
			l.blocks = append(l.blocks, b)
		}
	}
	return line[4]&lineFull != 0, nil
}

func (s *Segment) badIDs(e *tenantEntry, what string, args ...any) error {
	return fmt.Errorf("%s: %w: the index of ids at byte %d: %s", s.Path(), pieces.ErrDamaged, e.ids.Off, fmt.Sprintf(what, args...))
}
