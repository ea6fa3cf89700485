package process

import (
	"cmp"
	"encoding/binary"
	"hash/maphash"
	"slices"
	"time"

	"github.com/pulsestream/pulsestream/internal/tenant"
)

// Window remembers the identities of the events of the last span of time, so that each is counted once. Time is the time of
// receipt that stands in the log, never the wall clock: a replay decides as the first pass did. It is derived
// state: after a restart it is loaded from the stored events.
//
// It is hash tables, told apart by the first bits of the identity. A table that is full first lets go what is too old to matter, then grows by a quarter or so,
// and when it has become a large one it is made two: so no identity that is added moves more than mostMoved others, and what growing takes for
// as long as it lasts is the room of one table, however many identities there are. An entry takes 14 bytes; with the room that tables must have, and the gaps
// between them, an identity takes 20 to 24 once there are a million. The tables are not in the garbage collector's heap (see tableMemory). A Window must be closed.
type Window struct {
	span    int64 // seconds
	newest  int64 // the latest time of receipt
	used    int
	depth   int      // bits that choose a table
	tables  []*shard // by those bits; one that is chosen by fewer stands in several places
	swept   int
	memory  tableMemory
	scratch []entry
	moved   int // identities that growing has moved so far
}

const (
	// largeTable is with how many identities a table that is full is made two instead of a larger one.
	largeTable = 3 << 13
	// mostMoved is how many a full table has at most: one that was just not large enough grew once more.
	mostMoved = 1 << 15
)

// NewWindow makes an empty window over span.
func NewWindow(span time.Duration) *Window {
	return &Window{span: int64(span / time.Second), tables: []*shard{{}}}
}

// Close gives the memory back.
func (w *Window) Close() {
	w.memory.arena.Close()
	w.depth, w.tables, w.used, w.scratch = 0, []*shard{{}}, 0, nil
}

// table is the one of an identity.
func (w *Window) table(high uint64) *shard { return w.tables[high>>1>>(63-w.depth)] }

// add notes an identity received at a time, in Unix seconds, and says whether it was received within the span before. The first receipt is
// what counts: a repetition does not prolong it.
func (w *Window) add(e identity, at int64) (duplicate bool) {
	w.newest = max(w.newest, at)
	s := w.table(e.high)
	i, found := s.find(e)
	if found {
		old := &s.entries[i]
		if at-int64(old.seen()) < w.span {
			return true
		}
		*old = entryOf(e, seenAt(at))
		return false
	}
	gap := s.gap(i)
	if s.used >= s.room || gap == len(s.entries) {
		w.grow(s)
		s = w.table(e.high)
		i, _ = s.find(e)
		gap = s.gap(i)
	}
	copy(s.entries[i+1:gap+1], s.entries[i:gap])
	s.entries[i] = entryOf(e, seenAt(at))
	s.used++
	w.used++
	return false
}

// seenAt is a time as an entry has it.
func seenAt(at int64) uint32 { return uint32(max(at, 1)) } //nolint:gosec // Unix seconds fit until 2106

// oldest is a time before which nothing matters any more, even if the clock is set back a little.
func (w *Window) oldest() int64 { return w.newest - w.span - w.span/16 }

// touch reads what add will read: where the identity belongs, and the entries behind, up to the first gap more often than not. Identities are touched one after
// the other before they are added, so that memory gives them all at once: each by itself would have to be waited for.
func (w *Window) touch(e identity) uint32 {
	s := w.table(e.high)
	if len(s.entries) == 0 {
		return 0
	}
	home := s.home(e.high)
	return s.entries[home].seen() + s.entries[home+touchedBehind].seen()
}

// touchedBehind is as many entries as a cache line has.
const touchedBehind = 4

// remove forgets an identity: its event was not stored after all.
func (w *Window) remove(e identity) {
	s := w.table(e.high)
	if i, found := s.find(e); found {
		s.remove(i)
		w.used--
	}
}

// Sweep lets go what is too old of some tables in turn, one in 256: called every second, it gives memory back after a busy day.
func (w *Window) Sweep() {
	for range max(1, len(w.tables)>>8) {
		w.swept = (w.swept + 1) % len(w.tables)
		s := w.tables[w.swept]
		if kept := s.count(w.oldest()); s.used-kept > s.used/4 {
			w.grow(s)
		}
		if w.swept == 0 {
			w.memory.arena.Trim()
		}
	}
}

// Len is the number of identities held.
func (w *Window) Len() int { return w.used }

// grow makes a table anew, without what is too old and with room for more, or two of it.
func (w *Window) grow(s *shard) {
	before := s.used
	w.scratch = s.appendTo(w.scratch[:0], w.oldest())
	all := w.scratch
	w.used -= before - len(all)
	w.moved += len(all)
	// Where the first bits of most identities are the same, which does not happen to hashes, more tables would not help.
	if len(all) < largeTable || s.depth == w.depth && w.used>>w.depth < largeTable/8 {
		s.fill(&w.memory, all)
		return
	}
	if s.depth == w.depth {
		w.deepen()
	}
	bit := uint64(1) << (63 - s.depth)
	middle, _ := slices.BinarySearchFunc(all, bit, func(e entry, bit uint64) int { return cmp.Compare(e.high()&bit, bit) })
	s.depth++
	upper := &shard{depth: s.depth}
	s.fill(&w.memory, all[:middle])
	upper.fill(&w.memory, all[middle:])
	// Both have half of the places that there were.
	places := 1 << (w.depth - s.depth)
	first := int(all[0].high()>>1>>(63-w.depth)) &^ (2*places - 1) //nolint:gosec // few bits
	for i := range places {
		w.tables[first+places+i] = upper
	}
}

// deepen lets tables be chosen by one bit more.
func (w *Window) deepen() {
	twice := make([]*shard, 0, 2*len(w.tables))
	for _, t := range w.tables {
		twice = append(twice, t, t)
	}
	w.tables = twice
	w.depth++
}

// identity is what an event is told apart by, as 80 bits that look random. That one of a hundred million is taken for a new one has a chance of one in 10¹⁶.
type identity struct {
	high uint64
	low  uint16
}

// entry is an identity, and the second in which it was received; 0: there is none. It is bytes, for a structure would take two more.
type entry [14]byte

func entryOf(i identity, seen uint32) (e entry) {
	binary.LittleEndian.PutUint64(e[:], i.high)
	binary.LittleEndian.PutUint16(e[8:], i.low)
	binary.LittleEndian.PutUint32(e[10:], seen)
	return e
}

func (e *entry) high() uint64 { return binary.LittleEndian.Uint64(e[:]) }
func (e *entry) low() uint16  { return binary.LittleEndian.Uint16(e[8:]) }
func (e *entry) seen() uint32 { return binary.LittleEndian.Uint32(e[10:]) }

// identifier makes identities: two hashes under secret seeds, which are new with each process, so that nobody can make up ids
// that are taken for another's. What is stored has the ids themselves.
type identifier struct {
	high, low maphash.Seed
	text      []byte // scratch
}

func newIdentifier() *identifier {
	return &identifier{high: maphash.MakeSeed(), low: maphash.MakeSeed()}
}

func (i *identifier) identity(t tenant.ID, source, id string) identity {
	i.text = append(append(append(append(append(i.text[:0], t...), 0), source...), 0), id...)
	return identity{high: maphash.Bytes(i.high, i.text), low: uint16(maphash.Bytes(i.low, i.text))} //nolint:gosec // a part of a hash is one
}
