package segment

// A filter says which hashes a tenant's events of a segment may have: a Bloom filter whose bits for a hash all lie in one cache line, so
// that a look costs one read. With filterBits bits for each event some 0.2 % of the hashes that are not there pass: with 12 it was half a per cent and more,
// and a look among four hundred segments read the ids of two or three in vain. A filter that was made with fewer is read as it is.
const (
	filterBits = 16
	lineBytes  = 64
	probes     = 6
)

func newFilter(n int) []byte {
	lines := (n*filterBits + 8*lineBytes - 1) / (8 * lineBytes)
	return make([]byte, max(1, lines)*lineBytes)
}

// line is where the line of a hash begins in a filter of so many bytes.
func line(h uint64, size int) int {
	return int((h>>32)*uint64(size/lineBytes)>>32) * lineBytes //nolint:gosec // below size
}

// probe spreads a hash over the bits of a line: nine bits for each probe.
func probe(h uint64) uint64 { return h * 0x9e3779b97f4a7c15 }

func addToFilter(filter []byte, h uint64) {
	l := filter[line(h, len(filter)):]
	for p, i := probe(h), 0; i < probes; p, i = p>>9, i+1 {
		l[p>>3&63] |= 1 << (p & 7)
	}
}

// mayHave looks at the line of h.
func mayHave(l []byte, h uint64) bool {
	for p, i := probe(h), 0; i < probes; p, i = p>>9, i+1 {
		if l[p>>3&63]&(1<<(p&7)) == 0 {
			return false
		}
	}
	return true
}
