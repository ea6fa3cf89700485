package segment

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"sync/atomic"

	"github.com/pulsestream/pulsestream/internal/tenant"
)

// Columns of a block, in their order in the file.
const (
	colTime = iota
	colSeq
	colIndex
	colReceived
	colFlags
	colID
	colSource
	colSubject
	colExtensions
	colData
	columns
)

const (
	magic      = "PSseg001"
	footerSize = 8 + 4 + 4 + len(magic) // place and length of the directory, its checksum, the magic again
	// blockRows is how many rows a block has at most: few enough that one event is found in it within a millisecond, many
	// enough that its columns compress.
	blockRows = 8192
	// mixedRows is below how many rows a block goes on with the next type.
	mixedRows = 1024
)

// ErrDamaged is for a file that is not what was written, ErrUnreadable for one that the operating system does not let us read.
var (
	ErrDamaged    = errors.New("the segment is damaged")
	ErrUnreadable = errors.New("the segment cannot be read")
)

// place is where a piece stands in the file.
type place struct {
	off int64
	len uint32
	crc uint32
}

// kindRun is a stretch of rows of one type.
type kindRun struct {
	kind string
	end  int // the row behind it
}

// blockEntry is what the directory says of a block.
type blockEntry struct {
	rows                     int
	kinds                    []kindRun
	minTime, maxTime         int64
	minSeq, maxSeq           uint64
	minReceived, maxReceived int64
	columns                  [columns]place
}

// tenantEntry is what the directory says of a tenant.
type tenantEntry struct {
	id        tenant.ID
	partition int
	rows      int
	filter    place
	checked   atomic.Bool // the filter
	blocks    []blockEntry
}

func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }

// appendDirectory encodes the directory. Pieces follow each other in the file, so their lengths tell their places.
func appendDirectory(dst []byte, tenants []*tenantEntry) []byte {
	text := func(s string) { dst = append(binary.AppendUvarint(dst, uint64(len(s))), s...) }
	piece := func(p place) {
		dst = binary.AppendUvarint(dst, uint64(p.len))
		dst = binary.LittleEndian.AppendUint32(dst, p.crc)
	}
	dst = binary.AppendUvarint(dst, uint64(len(tenants)))
	for _, t := range tenants {
		text(string(t.id))
		dst = binary.AppendUvarint(dst, uint64(t.partition)) //nolint:gosec // not negative
		dst = binary.AppendUvarint(dst, uint64(len(t.blocks)))
		for i := range t.blocks {
			b := &t.blocks[i]
			dst = binary.AppendUvarint(dst, uint64(len(b.kinds)))
			at := 0
			for _, k := range b.kinds {
				text(k.kind)
				dst = binary.AppendUvarint(dst, uint64(k.end-at)) //nolint:gosec // a run is not empty
				at = k.end
			}
			dst = binary.AppendVarint(dst, b.minTime)
			dst = binary.AppendUvarint(dst, uint64(b.maxTime)-uint64(b.minTime)) //nolint:gosec // wraps and comes back
			dst = binary.AppendUvarint(dst, b.minSeq)
			dst = binary.AppendUvarint(dst, b.maxSeq-b.minSeq)
			dst = binary.AppendVarint(dst, b.minReceived)
			dst = binary.AppendUvarint(dst, uint64(b.maxReceived)-uint64(b.minReceived)) //nolint:gosec // likewise
			for _, p := range b.columns {
				piece(p)
			}
		}
	}
	for _, t := range tenants {
		piece(t.filter)
	}
	return dst
}

// directoryReader reads what appendDirectory wrote; the first thing that cannot be is kept as bad.
type directoryReader struct {
	b   []byte
	at  int64 // of the next piece in the file
	end int64 // behind the last piece
	bad error
}

func (r *directoryReader) fail(what string) {
	if r.bad == nil {
		r.bad = fmt.Errorf("%w: its directory has %s", ErrDamaged, what)
	}
	r.b = nil
}

func (r *directoryReader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.fail("no number where one belongs")
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *directoryReader) varint() int64 {
	v, n := binary.Varint(r.b)
	if n <= 0 {
		r.fail("no number where one belongs")
		return 0
	}
	r.b = r.b[n:]
	return v
}

// count reads how many of something follow, each of which takes at least one byte.
func (r *directoryReader) count() int {
	v := r.uvarint()
	if v > uint64(len(r.b)) {
		r.fail("more entries than bytes")
		return 0
	}
	return int(v) //nolint:gosec // bounded above
}

func (r *directoryReader) text() string {
	n := r.count()
	s := string(r.b[:min(n, len(r.b))])
	r.b = r.b[len(s):]
	return s
}

func (r *directoryReader) piece() place {
	n := r.uvarint()
	if len(r.b) < 4 || n > uint64(r.end-r.at) { //nolint:gosec // at never passes end
		r.fail("a piece that reaches beyond the file")
		return place{}
	}
	p := place{off: r.at, len: uint32(n), crc: binary.LittleEndian.Uint32(r.b)} //nolint:gosec // bounded by the file's length, see Open
	r.b = r.b[4:]
	r.at += int64(n) //nolint:gosec // bounded above
	return p
}

func (r *directoryReader) block() blockEntry {
	var b blockEntry
	for range r.count() {
		k := kindRun{kind: r.text()}
		n := r.uvarint()
		if n == 0 || n > blockRows {
			r.fail("a run of no or too many rows")
		}
		b.rows += int(n) //nolint:gosec // bounded above
		k.end = b.rows
		b.kinds = append(b.kinds, k)
	}
	if b.rows == 0 || b.rows > blockRows {
		r.fail("a block of no or too many rows")
	}
	b.minTime = r.varint()
	b.maxTime = int64(uint64(b.minTime) + r.uvarint()) //nolint:gosec // wraps back
	b.minSeq = r.uvarint()
	b.maxSeq = b.minSeq + r.uvarint()
	b.minReceived = r.varint()
	b.maxReceived = int64(uint64(b.minReceived) + r.uvarint()) //nolint:gosec // wraps back
	for i := range b.columns {
		b.columns[i] = r.piece()
	}
	return b
}

// readDirectory reads a directory of a file whose pieces stand from len(magic) to end.
func readDirectory(b []byte, end int64) ([]*tenantEntry, error) {
	r := &directoryReader{b: b, at: int64(len(magic)), end: end}
	var all []*tenantEntry
	for range r.count() {
		t := &tenantEntry{id: tenant.ID(r.text())}
		p := r.uvarint()
		if p > 1<<20 {
			r.fail("a partition that cannot be")
		}
		t.partition = int(p) //nolint:gosec // bounded above
		for range r.count() {
			b := r.block()
			t.blocks, t.rows = append(t.blocks, b), t.rows+b.rows
			if r.bad != nil {
				break
			}
		}
		all = append(all, t)
		if r.bad != nil {
			break
		}
	}
	for _, t := range all {
		t.filter = r.piece()
	}
	if r.bad == nil && (len(r.b) > 0 || r.at != end) {
		r.fail("other pieces than the file")
	}
	return all, r.bad
}
