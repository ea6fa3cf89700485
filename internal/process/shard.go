package process

import "github.com/pulsestream/pulsestream/internal/offheap"

// shard is a hash table in which entries stand in the order of their identities, each as near behind its home as that order
// allows. So a look-up ends at the first larger one, however full the table is, and a table is made anew in one pass.
type shard struct {
	entries []entry // homes, and spill more at the end
	piece   offheap.Piece
	homes   uint32
	depth   int // how many bits all identities begin with alike
	used    int
	room    int // how many there may be
}

// spill is how far behind the last home entries may be pushed.
func spill(homes int) int { return 8 + min(homes/16, 120) }

func (s *shard) home(high uint64) uint32 {
	// The bits behind the first, scaled.
	return uint32(high << s.depth >> 32 * uint64(s.homes) >> 32)
}

// find returns where e is, or where it belongs.
func (s *shard) find(e identity) (int, bool) {
	if len(s.entries) == 0 {
		return 0, false
	}
	i := int(s.home(e.high))
	for ; i < len(s.entries); i++ {
		o := &s.entries[i]
		switch high := o.high(); {
		case o.seen() == 0 || high > e.high:
			return i, false
		case high == e.high && o.low() >= e.low:
			return i, o.low() == e.low
		}
	}
	return i, false
}

// gap is the first empty place from i on.
func (s *shard) gap(i int) int {
	for i < len(s.entries) && s.entries[i].seen() != 0 {
		i++
	}
	return i
}

func (s *shard) remove(i int) {
	end := i + 1
	for end < len(s.entries) && s.entries[end].seen() != 0 && int(s.home(s.entries[end].high())) < end {
		end++
	}
	copy(s.entries[i:], s.entries[i+1:end])
	s.entries[end-1] = entry{}
	s.used--
}

// count is how many entries are not older than oldest.
func (s *shard) count(oldest int64) (n int) {
	for i := range s.entries {
		if e := &s.entries[i]; e.seen() != 0 && int64(e.seen()) >= oldest {
			n++
		}
	}
	return n
}

// appendTo appends the entries that are not older than oldest, in their order.
func (s *shard) appendTo(all []entry, oldest int64) []entry {
	for i := range s.entries {
		if e := &s.entries[i]; e.seen() != 0 && int64(e.seen()) >= oldest {
			all = append(all, *e)
		}
	}
	return all
}

// fill makes the table one of these entries, which are in order, with room for more, also behind the last home. How much room differs from one time to the
// next, so that tables which are filled alike do not all grow at the same time.
func (s *shard) fill(m *tableMemory, all []entry) {
	m.turn++
	homes := max(16, len(all)+len(all)*(5+m.turn%3)/16)
	s.homes, s.used, s.room = uint32(homes), len(all), homes*7/8 //nolint:gosec // few
	end := 0
	for i := range all {
		end = max(end, int(s.home(all[i].high()))) + 1
	}
	m.resize(s, max(homes, end)+spill(homes))
	to := 0
	for i := range all {
		home := max(to, int(s.home(all[i].high())))
		clear(s.entries[to:home])
		s.entries[home] = all[i]
		to = home + 1
	}
	clear(s.entries[to:])
}
