package process

import (
	"hash/maphash"
	"time"

	"github.com/pulsestream/pulsestream/internal/tenant"
)

// Window remembers the identities of the events of the last span of time, so that each is counted once. Time is the time of
// receipt that stands in the log, never the wall clock: a replay decides as the first pass did. It is derived
// state: after a restart it is loaded from the stored events.
//
// It is a number of hash tables, told apart by the first byte of the identity, that grow one by one and by less than a half: an
// entry takes 16 bytes, and with the room that tables must have an identity takes 18 to 24 of them, at all times. A table that
// is full first lets go what is too old to matter.
type Window struct {
	span   int64 // seconds
	newest int64 // the latest time of receipt
	used   int
	shards [256]shard
	swept  uint8
}

// NewWindow makes an empty window over span.
func NewWindow(span time.Duration) *Window { return &Window{span: int64(span / time.Second)} }

// add notes an identity received at a time, in Unix seconds, and says whether it was received within the span before. The first receipt is
// what counts: a repetition does not prolong it.
func (w *Window) add(e entry, at int64) (duplicate bool) {
	w.newest = max(w.newest, at)
	s := &w.shards[e.high>>56]
	i, found := s.find(e)
	if found {
		old := &s.entries[i]
		if at-int64(old.seen) < w.span {
			return true
		}
		old.seen = seenAt(at)
		return false
	}
	gap := s.gap(i)
	if s.used >= s.room || gap == len(s.entries) {
		w.used -= s.resize(w.oldest())
		i, _ = s.find(e)
		gap = s.gap(i)
	}
	e.seen = seenAt(at)
	copy(s.entries[i+1:gap+1], s.entries[i:gap])
	s.entries[i] = e
	s.used++
	w.used++
	return false
}

// seenAt is a time as an entry has it.
func seenAt(at int64) uint32 { return uint32(max(at, 1)) } //nolint:gosec // Unix seconds fit until 2106

// oldest is a time before which nothing matters any more, even if the clock is set back a little.
func (w *Window) oldest() int64 { return w.newest - w.span - w.span/16 }

// touch reads what add will read first. A message's identities are touched one after the other before they are added, so that
// memory gives them all at once: each by itself would have to be waited for.
func (w *Window) touch(e entry) uint32 {
	s := &w.shards[e.high>>56]
	if len(s.entries) == 0 {
		return 0
	}
	return s.entries[s.home(e.high)].seen
}

// remove forgets an identity: its event was not stored after all.
func (w *Window) remove(e entry) {
	s := &w.shards[e.high>>56]
	if i, found := s.find(e); found {
		s.remove(i)
		w.used--
	}
}

// Sweep lets go what is too old of one table in turn: called every second, it gives memory back after a busy day.
func (w *Window) Sweep() {
	s := &w.shards[w.swept]
	w.swept++
	old, oldest := 0, w.oldest()
	for i := range s.entries {
		if e := &s.entries[i]; e.seen != 0 && int64(e.seen) < oldest {
			old++
		}
	}
	if old > s.used/4 {
		w.used -= s.resize(oldest)
	}
}

// Len is the number of identities held.
func (w *Window) Len() int { return w.used }

// entry is an identity, as 96 bits that look random, with the second in which it was received; 0: there is none.
type entry struct {
	high uint64
	low  uint32
	seen uint32
}

// identifier makes entries of identities: two hashes under secret seeds, which are new with each process, so that nobody can make up ids
// that are taken for another's. What is stored has the ids themselves.
type identifier struct {
	high, low maphash.Seed
	text      []byte // scratch
}

func newIdentifier() *identifier {
	return &identifier{high: maphash.MakeSeed(), low: maphash.MakeSeed()}
}

func (i *identifier) entry(t tenant.ID, source, id string) entry {
	i.text = append(append(append(append(append(i.text[:0], t...), 0), source...), 0), id...)
	return entry{high: maphash.Bytes(i.high, i.text), low: uint32(maphash.Bytes(i.low, i.text))} //nolint:gosec // half of a hash is one
}

// shard is a hash table in which entries stand in the order of their identities, each as near behind its home as that order
// allows. So a look-up ends at the first larger one, however full the table is, and a table is made anew in one pass.
type shard struct {
	entries []entry // homes, and spill more at the end
	homes   uint32
	used    int
	room    int // how many there may be
}

// spill is how far behind the last home entries may be pushed.
func spill(homes int) int { return 8 + min(homes/16, 120) }

func (s *shard) home(high uint64) uint32 {
	return uint32(uint64(uint32(high>>24)) * uint64(s.homes) >> 32) //nolint:gosec // the middle bits, scaled
}

// find returns where e is, or where it belongs.
func (s *shard) find(e entry) (int, bool) {
	if len(s.entries) == 0 {
		return 0, false
	}
	i := int(s.home(e.high))
	for ; i < len(s.entries); i++ {
		o := &s.entries[i]
		if o.seen == 0 || o.high > e.high {
			return i, false
		}
		if o.high == e.high && o.low >= e.low {
			return i, o.low == e.low
		}
	}
	return i, false
}

// gap is the first empty place from i on.
func (s *shard) gap(i int) int {
	for i < len(s.entries) && s.entries[i].seen != 0 {
		i++
	}
	return i
}

func (s *shard) remove(i int) {
	end := i + 1
	for end < len(s.entries) && s.entries[end].seen != 0 && int(s.home(s.entries[end].high)) < end {
		end++
	}
	copy(s.entries[i:], s.entries[i+1:end])
	s.entries[end-1] = entry{}
	s.used--
}

// resize makes the table anew, without what is older than oldest and with room for more, also behind the last home. It returns
// how many entries were let go.
func (s *shard) resize(oldest int64) (gone int) {
	kept := 0
	for i := range s.entries {
		if e := &s.entries[i]; e.seen != 0 && int64(e.seen) >= oldest {
			kept++
		}
	}
	homes := max(16, kept+kept*7/16)
	made := shard{homes: uint32(homes), used: kept, room: homes * 7 / 8}
	end := 0
	s.each(oldest, func(e entry) { end = max(end, int(made.home(e.high))) + 1 })
	made.entries = make([]entry, max(homes, end)+spill(homes))
	to := 0
	s.each(oldest, func(e entry) {
		to = max(to, int(made.home(e.high)))
		made.entries[to] = e
		to++
	})
	gone = s.used - kept
	*s = made
	return gone
}

// each calls f with every entry that is not older than oldest, in their order.
func (s *shard) each(oldest int64, f func(entry)) {
	for i := range s.entries {
		if e := s.entries[i]; e.seen != 0 && int64(e.seen) >= oldest {
			f(e)
		}
	}
}
