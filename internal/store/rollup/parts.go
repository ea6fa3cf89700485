package rollup

import (
	"encoding/binary"
	"errors"
)

// errCorrupt is for bytes that are no block.
var errCorrupt = errors.New("not a block of rollups")

// appendPart appends what add appends behind its length.
func appendPart(dst []byte, add func(dst []byte) []byte) []byte {
	at := len(dst) + 4
	dst = add(append(dst, 0, 0, 0, 0))
	binary.LittleEndian.PutUint32(dst[at-4:], uint32(len(dst)-at)) //nolint:gosec // a column of a block is small
	return dst
}

// parts takes things from the front of src. After the end it is bad.
type parts struct {
	src []byte
	bad bool
}

func (p *parts) take(n int) []byte {
	if n > len(p.src) {
		p.bad, p.src = true, nil
		return nil
	}
	b := p.src[:n]
	p.src = p.src[n:]
	return b
}

func (p *parts) byte() byte {
	b := p.take(1)
	if p.bad {
		return 0
	}
	return b[0]
}

// part takes what appendPart appended.
func (p *parts) part() []byte {
	b := p.take(4)
	if p.bad {
		return nil
	}
	n := binary.LittleEndian.Uint32(b)
	if uint64(n) > uint64(len(p.src)) {
		p.bad, p.src = true, nil
		return nil
	}
	return p.take(int(n))
}

func (p *parts) uvarint() uint64 {
	v, n := binary.Uvarint(p.src)
	if n <= 0 {
		p.bad, p.src = true, nil
		return 0
	}
	p.src = p.src[n:]
	return v
}

// grown is s with length n, in its own memory where that is enough. What it holds is of no meaning.
func grown[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n, n+n/4)
	}
	return s[:n]
}
