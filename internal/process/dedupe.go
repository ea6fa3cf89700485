package process

import (
	"encoding/binary"
	"time"

	"github.com/pulsestream/pulsestream/internal/event"
)

// Window remembers the identities of the events of the last span of time, so that each is counted once. Time is the time of
// receipt that stands in the log, never the wall clock: a replay decides as the first pass did. It is derived
// state: after a restart it is loaded from the stored events.
//
// It is a few hash tables, each for a part of the span; whole tables are dropped as they age. An entry takes 16 bytes, at a
// load of at most 3/4.
type Window struct {
	span  time.Duration
	width int64 // seconds covered by one table
	parts []*table
}

const windowParts = 4

// NewWindow makes an empty window over span.
func NewWindow(span time.Duration) *Window {
	return &Window{span: span, width: max(1, int64(span/time.Second)/windowParts)}
}

// Add notes an identity received at a time, and says whether it was received within the span before. The first receipt is
// what counts: a repetition does not prolong it.
func (w *Window) Add(key event.Key, received time.Time) (duplicate bool) {
	at := received.Unix()
	for i := len(w.parts) - 1; i >= 0; i-- {
		if seen, ok := w.parts[i].get(key); ok && at-int64(seen) < int64(w.span/time.Second) {
			return true
		}
	}
	w.part(at).put(key, uint32(at)) //nolint:gosec // Unix seconds fit until 2106
	return false
}

// Remove forgets an identity: its event was not stored after all.
func (w *Window) Remove(key event.Key) {
	for _, p := range w.parts {
		p.remove(key)
	}
}

// part is the table for a time; older ones that no later event can need are dropped. A clock that steps back writes
// into the newest table.
func (w *Window) part(at int64) *table {
	n := len(w.parts)
	if n > 0 && at/w.width <= w.parts[n-1].epoch {
		return w.parts[n-1]
	}
	t := newTable(at / w.width)
	keep := w.parts[:0]
	for _, p := range w.parts {
		if p.epoch >= t.epoch-windowParts-1 {
			keep = append(keep, p)
		}
	}
	clear(w.parts[len(keep):])
	w.parts = append(keep, t)
	return t
}

// Len is the number of identities held.
func (w *Window) Len() int {
	n := 0
	for _, p := range w.parts {
		n += p.used
	}
	return n
}

// table is an open-addressing hash table from an identity to the second it was received. Keys are parts of a SHA-256,
// so their first bytes are the hash.
type table struct {
	epoch   int64
	used    int
	entries []entry // length is a power of two
}

type entry struct {
	key  event.Key
	seen uint32 // 0: empty
}

func newTable(epoch int64) *table { return &table{epoch: epoch, entries: make([]entry, 1024)} }

func (t *table) slot(key event.Key) *entry {
	mask := uint64(len(t.entries) - 1) //nolint:gosec // a length
	for i := binary.LittleEndian.Uint64(key[:]) & mask; ; i = (i + 1) & mask {
		if e := &t.entries[i]; e.seen == 0 || e.key == key {
			return e
		}
	}
}

func (t *table) get(key event.Key) (uint32, bool) {
	e := t.slot(key)
	return e.seen, e.seen != 0
}

// remove takes an entry out and puts those behind it, which may have been pushed on by it, where they belong.
func (t *table) remove(key event.Key) {
	e := t.slot(key)
	if e.seen == 0 {
		return
	}
	*e = entry{}
	t.used--
	mask := len(t.entries) - 1
	for i := (int(binary.LittleEndian.Uint64(key[:])) & mask); ; i = (i + 1) & mask { //nolint:gosec // only the low bits are used
		if &t.entries[i] == e {
			for i = (i + 1) & mask; t.entries[i].seen != 0; i = (i + 1) & mask {
				moved := t.entries[i]
				t.entries[i] = entry{}
				*t.slot(moved.key) = moved
			}
			return
		}
	}
}

func (t *table) put(key event.Key, seen uint32) {
	if t.used*4 >= len(t.entries)*3 {
		old := t.entries
		t.entries = make([]entry, 2*len(old))
		for _, e := range old {
			if e.seen != 0 {
				*t.slot(e.key) = e
			}
		}
	}
	e := t.slot(key)
	if e.seen == 0 {
		t.used++
	}
	*e = entry{key: key, seen: max(seen, 1)}
}
