package segment

import (
	"cmp"
	"math/bits"
	"slices"
)

// sorter puts rows into the order in which they stand in a file. It keeps its memory.
type sorter struct {
	rows       []*row // of the tenant in hand
	keys, more []sortKey
}

// sortKey is what rows of one type are sorted by, beside the row: so that to compare two is no walk through memory.
type sortKey struct {
	time uint64 // since that of the earliest
	row  *row
}

// sort puts the tenant's rows into the order of their types' names, their times, and their places in the log.
func (s *sorter) sort(v *View) []*row {
	names := make([]uint32, len(v.names))
	for i := range names {
		names[i] = uint32(i)
	}
	slices.SortFunc(names, func(x, y uint32) int { return cmp.Compare(v.names[x], v.names[y]) })
	rank := make([]uint32, len(names))
	for i, n := range names {
		rank[n] = uint32(i)
	}
	// A counting sort by type leaves runs that are nearly in order of time already.
	starts := make([]int, len(names)+1)
	v.each(func(r *row) { starts[rank[r.kind]+1]++ })
	for i := range names {
		starts[i+1] += starts[i]
	}
	s.rows = slices.Grow(s.rows[:0], v.N)[:v.N]
	next := slices.Clone(starts)
	v.each(func(r *row) {
		k := rank[r.kind]
		s.rows[next[k]] = r
		next[k]++
	})
	for i := range names {
		s.run(s.rows[starts[i]:starts[i+1]], v.mixed)
	}
	return s.rows
}

// forget lets go of what is not the sorter's.
func (s *sorter) forget() {
	clear(s.rows)
	clear(s.keys[:cap(s.keys)])
	clear(s.more[:cap(s.more)])
}

// run puts the rows of one type into the order of their times and places in the log. Mixed says that they are not in the order of the log.
func (s *sorter) run(rows []*row, mixed bool) {
	if len(rows) < 2 {
		return
	}
	first := rows[0].time
	for _, r := range rows {
		first = min(first, r.time)
	}
	s.keys = s.keys[:0]
	span, before, sorted := uint64(0), uint64(0), !mixed
	for _, r := range rows {
		at := uint64(r.time) - uint64(first) //nolint:gosec // the difference is right modulo 2⁶⁴
		span, sorted = max(span, at), sorted && at >= before
		before = at
		s.keys = append(s.keys, sortKey{at, r})
	}
	switch width := bits.Len64(span); {
	case sorted:
		return
	case !mixed && len(rows) >= manyRows && width <= narrow:
		s.digits(width)
	default:
		slices.SortFunc(s.keys, sortKey.compare)
	}
	for i := range s.keys {
		rows[i] = s.keys[i].row
	}
}

func (x sortKey) compare(y sortKey) int {
	if x.time != y.time {
		return cmp.Compare(x.time, y.time)
	}
	if x.row.seq != y.row.seq {
		return cmp.Compare(x.row.seq, y.row.seq)
	}
	return cmp.Compare(x.row.index, y.row.index)
}

const (
	digit = 11
	// From manyRows on, and up to narrow bits of their times, rows are sorted digit by digit.
	manyRows, narrow = 256, 4 * digit
)

// digits sorts by times of so many bits, the lowest digit first. It leaves those of one time in the order that they have.
func (s *sorter) digits(width int) {
	s.more = slices.Grow(s.more[:0], len(s.keys))[:len(s.keys)]
	for shift := 0; shift < width; shift += digit {
		var places [1<<digit + 1]uint32
		for i := range s.keys {
			places[s.keys[i].time>>shift&(1<<digit-1)+1]++
		}
		for i := range 1 << digit {
			places[i+1] += places[i]
		}
		for i := range s.keys {
			at := &places[s.keys[i].time>>shift&(1<<digit-1)]
			s.more[*at] = s.keys[i]
			*at++
		}
		s.keys, s.more = s.more, s.keys
	}
}
