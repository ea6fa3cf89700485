package duckdb

import "math"

// pace divides a range of numbers into stretches that hold about as many rows each: DuckDB holds the whole result of a query in
// memory, and nobody else can know how many rows there will be.
type pace struct {
	width uint64 // of the first stretch
	most  uint64 // that a stretch may be wide
	rows  int    // that a stretch should have
}

// divide calls read with one stretch of the numbers from first to last after the other, all bounds inclusive, and learns from the rows of
// each how wide the next may be. Where it has seen too few rows to tell, it asks count first; nil when it doesn't matter.
func (p pace) divide(first, last uint64, count, read func(from, to uint64) (rows int, err error)) error {
	known := true
	for width := p.width; first <= last; {
		to := last
		if last-first >= width {
			to = first + width - 1
		}
		if !known && count != nil {
			var err error
			if to, err = p.narrow(first, to, count); err != nil {
				return err
			}
		}
		rows, err := read(first, to)
		if err != nil || to == math.MaxUint64 {
			return err
		}
		width, known = p.next(to-first+1, rows), rows >= p.rows/8
		first = to + 1
	}
	return nil
}

// narrow brings a stretch's end nearer until it has few enough rows.
func (p pace) narrow(from, to uint64, count func(from, to uint64) (int, error)) (uint64, error) {
	for {
		n, err := count(from, to)
		if err != nil || n <= 2*p.rows || to == from {
			return to, err
		}
		to = from + max(1, uint64(float64(to-from+1)*float64(p.rows)/float64(n))) - 1
	}
}

// next is the width of the stretch behind one of that width with that many rows.
func (p pace) next(width uint64, rows int) uint64 {
	grown := width * 16
	if rows > 0 {
		grown = min(grown, uint64(float64(width)*float64(p.rows)/float64(rows)))
	}
	return max(1, min(grown, p.most))
}
