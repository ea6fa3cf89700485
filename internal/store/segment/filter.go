package segment

import (
	"fmt"

	"github.com/pulsestream/pulsestream/internal/store/pieces"
)

// Segments made until 2026-11-29 have a filter in the place of an index of ids: a Bloom filter whose bits for a hash all lie in one cache line, which says whether an
// id may be in the segment, but not in which block.
const (
	lineBytes = 64
	probes    = 6
)

// filterLine is where the line of a hash begins in a filter of so many bytes.
func filterLine(h uint64, size int) int {
	return int((h>>32)*uint64(size/lineBytes)>>32) * lineBytes //nolint:gosec // below size
}

// passes looks at the line of h.
func passes(line []byte, h uint64) bool {
	for p, i := h*0x9e3779b97f4a7c15, 0; i < probes; p, i = p>>9, i+1 {
		if line[p>>3&63]&(1<<(p&7)) == 0 {
			return false
		}
	}
	return true
}

// lookFilter is look for such a segment: it leaves all blocks or none. The whole of a filter is checked when it is used for the first time.
func (l *idLooker) lookFilter(s *Segment, e *tenantEntry, h uint64) error {
	l.blocks = l.blocks[:0]
	if !e.checked.Load() {
		if e.ids.Len == 0 || e.ids.Len%lineBytes != 0 {
			return fmt.Errorf("%s: %w: a filter has %d bytes", s.Path(), pieces.ErrDamaged, e.ids.Len)
		}
		if err := s.Check(e.ids); err != nil {
			return err
		}
		e.checked.Store(true)
	}
	at := e.ids.Off + int64(filterLine(h, int(e.ids.Len)))
	line, err := s.ReadInto(l.lines[:lineBytes], pieces.Place{Off: at, Len: lineBytes}, false)
	if err != nil || !passes(line, h) {
		return err
	}
	for b := range e.blocks {
		l.blocks = append(l.blocks, b)
	}
	return nil
}
