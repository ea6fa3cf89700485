package series

// Packer makes copies of aggregates that take little memory: their parts lie close together in blocks that many copies share, so
// that a copy mostly allocates nothing of its own. The zero value is ready. A block lives as long as any copy in it.
type Packer struct {
	sketches []sketches
	buckets  []bucket
	hashes   []uint64
}

// How many of each a block has.
const (
	packedSketches = 64
	packedBuckets  = 512
	packedHashes   = 512
)

// Copy is a copy of a that shares nothing with it. It may be merged into and added to like any other.
func (p *Packer) Copy(a *Agg) Agg {
	out := *a
	if a.form&explicit == 0 {
		out.sk = nil
		return out
	}
	if len(p.sketches) == 0 {
		p.sketches = make([]sketches, packedSketches)
	}
	s := &p.sketches[0]
	p.sketches = p.sketches[1:]
	s.quant = Quantiles{zero: a.sk.quant.zero, positive: part(&p.buckets, a.sk.quant.positive, packedBuckets), negative: part(&p.buckets, a.sk.quant.negative, packedBuckets)}
	if a.sk.unique.sketch != nil {
		s.unique.sketch = a.sk.unique.sketch.clone()
	} else {
		s.unique.few = part(&p.hashes, a.sk.unique.few, packedHashes)
		s.unique.sorted = a.sk.unique.sorted
	}
	out.sk = s
	return out
}

// part is a copy of list in block, or in a new one.
func part[T any](block *[]T, list []T, size int) []T {
	n := len(list)
	if n == 0 {
		return nil
	}
	if n > len(*block) {
		if n > size/4 { // it would waste much of a block
			return append(make([]T, 0, n), list...)
		}
		*block = make([]T, size)
	}
	out := (*block)[:n:n]
	copy(out, list)
	*block = (*block)[n:]
	return out
}
