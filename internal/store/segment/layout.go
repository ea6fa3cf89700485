package segment

import (
	"encoding/binary"
	"sync/atomic"

	"github.com/pulsestream/pulsestream/internal/store/pieces"
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
	magic = "PSseg002"
	// magicFilters is that of the releases before 2026-11-30: their segments have filters of ids, not indexes.
	magicFilters = "PSseg001"
	// blockRows is how many rows a block has at most: few enough that one event is found in it within a millisecond, many
	// enough that its columns compress.
	blockRows = 8192
	// mixedRows is below how many rows a block goes on with the next type.
	mixedRows = 1024
)

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
	columns                  [columns]pieces.Place
}

// tenantEntry is what the directory says of a tenant.
type tenantEntry struct {
	id        tenant.ID
	partition int
	rows      int
	ids       pieces.Place // its index of ids, or its filter
	checked   atomic.Bool  // the filter
	blocks    []blockEntry
}

// appendDirectory encodes the directory.
func appendDirectory(dst []byte, tenants []*tenantEntry) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(tenants)))
	for _, t := range tenants {
		dst = pieces.AppendText(dst, string(t.id))
		dst = binary.AppendUvarint(dst, uint64(t.partition)) //nolint:gosec // not negative
		dst = binary.AppendUvarint(dst, uint64(len(t.blocks)))
		for i := range t.blocks {
			b := &t.blocks[i]
			dst = binary.AppendUvarint(dst, uint64(len(b.kinds)))
			at := 0
			for _, k := range b.kinds {
				dst = pieces.AppendText(dst, k.kind)
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
				dst = pieces.AppendPlace(dst, p)
			}
		}
	}
	for _, t := range tenants {
		dst = pieces.AppendPlace(dst, t.ids)
	}
	return dst
}

func readBlock(r *pieces.Directory) blockEntry {
	var b blockEntry
	for range r.Count() {
		k := kindRun{kind: r.Text()}
		n := r.Uvarint()
		if n == 0 || n > blockRows {
			r.Fail("a run of no or too many rows")
		}
		b.rows += int(n) //nolint:gosec // bounded above
		k.end = b.rows
		b.kinds = append(b.kinds, k)
	}
	if b.rows == 0 || b.rows > blockRows {
		r.Fail("a block of no or too many rows")
	}
	b.minTime = r.Varint()
	b.maxTime = int64(uint64(b.minTime) + r.Uvarint()) //nolint:gosec // wraps back
	b.minSeq = r.Uvarint()
	b.maxSeq = b.minSeq + r.Uvarint()
	b.minReceived = r.Varint()
	b.maxReceived = int64(uint64(b.minReceived) + r.Uvarint()) //nolint:gosec // wraps back
	for i := range b.columns {
		b.columns[i] = r.Place()
	}
	return b
}

// readDirectory reads what appendDirectory wrote.
func readDirectory(r *pieces.Directory) ([]*tenantEntry, error) {
	var all []*tenantEntry
	for range r.Count() {
		t := &tenantEntry{id: tenant.ID(r.Text())}
		p := r.Uvarint()
		if p > 1<<20 {
			r.Fail("a partition that cannot be")
		}
		t.partition = int(p) //nolint:gosec // bounded above
		for range r.Count() {
			b := readBlock(r)
			t.blocks, t.rows = append(t.blocks, b), t.rows+b.rows
			if r.Err() != nil {
				break
			}
		}
		all = append(all, t)
		if r.Err() != nil {
			break
		}
	}
	for _, t := range all {
		t.ids = r.Place()
	}
	return all, r.End()
}
