package duckdb

import "math"

// pace divides a range of numbers into stretches that hold about as many rows each.
type pace struct {
	width uint64 // of the first stretch
	most  uint64 // that a stretch may be wide
	rows  int    // that a stretch should have
}

// divide calls read with one stretch of the numbers from first to last after the other, all bounds inclusive, and learns from the rows of
// each how wide the next may be.
func (p pace) divide(first, last uint64, read func(from, to uint64) (rows int, err error)) error {
	for width := p.width; first <= last; {
		to := last
		if last-first >= width {
			to = first + width - 1
		}
		rows, err := read(first, to)
		if err != nil || to == math.MaxUint64 {
			return err
		}
		width = p.next(to-first+1, rows)
		first = to + 1
	}
	return nil
}

// next is the width of the stretch behind one of that width with that many rows.
func (p pace) next(width uint64, rows int) uint64 {
	grown := width * 16
	if rows > 0 {
		grown = min(grown, uint64(float64(width)*float64(p.rows)/float64(rows)))
	}
	return max(1, min(grown, p.most))
}
