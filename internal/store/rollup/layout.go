package rollup

import (
	"cmp"
	"encoding/binary"
	"slices"

	"github.com/pulsestream/pulsestream/internal/series"
	"github.com/pulsestream/pulsestream/internal/store/pieces"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

const magic = "PSrol001"

// Pieces of a block, in their order in the file.
const (
	pieceRows = iota
	pieceQuant
	pieceUnique
	piecesOfBlock
)

// entry is what the directory says of a block.
type entry struct {
	metric      int64
	first, last int64 // starts
	off         int64
	rows        uint32
	step        uint8 // index of series.Resolutions
	len, crc    [piecesOfBlock]uint32
}

func (e *entry) place(piece int) pieces.Place {
	p := pieces.Place{Off: e.off, Len: e.len[piece], CRC: e.crc[piece]}
	for _, n := range e.len[:piece] {
		p.Off += int64(n)
	}
	return p
}

// tenantEntries are a tenant's blocks, by metric, step and first start.
type tenantEntries struct {
	id     tenant.ID
	blocks []entry
}

// compare orders the blocks of a tenant.
func (e *entry) compare(metric int64, step uint8) int {
	return cmp.Or(cmp.Compare(e.metric, metric), cmp.Compare(e.step, step))
}

// of are the blocks of a metric and step.
func (t *tenantEntries) of(metric int64, step uint8) []entry {
	from, _ := slices.BinarySearchFunc(t.blocks, step, func(e entry, step uint8) int { return e.compare(metric, step) })
	to := from
	for to < len(t.blocks) && t.blocks[to].metric == metric && t.blocks[to].step == step {
		to++
	}
	return t.blocks[from:to]
}

// appendDirectory encodes the directory.
func appendDirectory(dst []byte, long bool, tenants []tenantEntries) []byte {
	dst = binary.AppendUvarint(dst, uint64(truth(long))) //nolint:gosec // 0 or 1
	dst = binary.AppendUvarint(dst, uint64(len(tenants)))
	for i := range tenants {
		t := &tenants[i]
		dst = pieces.AppendText(dst, string(t.id))
		dst = binary.AppendUvarint(dst, uint64(len(t.blocks)))
		for j := range t.blocks {
			e := &t.blocks[j]
			dst = binary.AppendVarint(dst, e.metric)
			dst = binary.AppendUvarint(dst, uint64(e.step))
			dst = binary.AppendUvarint(dst, uint64(e.rows))
			dst = binary.AppendVarint(dst, e.first)
			dst = binary.AppendUvarint(dst, uint64(e.last)-uint64(e.first)) //nolint:gosec // wraps and comes back
			for p := range piecesOfBlock {
				dst = pieces.AppendPlace(dst, e.place(p))
			}
		}
	}
	return dst
}

func readEntry(r *pieces.Directory) entry {
	e := entry{metric: r.Varint()}
	step, rows := r.Uvarint(), r.Uvarint()
	if step >= uint64(len(series.Resolutions())) || rows == 0 || rows > blockRows {
		r.Fail("a block of a step or size that cannot be")
	}
	e.step, e.rows = uint8(step), uint32(rows) //nolint:gosec // bounded above
	e.first = r.Varint()
	span := r.Uvarint()
	e.last = int64(uint64(e.first) + span) //nolint:gosec // wraps back
	if e.last < e.first {
		r.Fail("a block that ends before it begins")
	}
	for p := range piecesOfBlock {
		at := r.Place()
		if p == 0 {
			e.off = at.Off
		}
		e.len[p], e.crc[p] = at.Len, at.CRC
	}
	return e
}

// readDirectory reads what appendDirectory wrote.
func readDirectory(r *pieces.Directory) (long bool, all []tenantEntries, err error) {
	long = r.Uvarint() != 0
	for range r.Count() {
		t := tenantEntries{id: tenant.ID(r.Text())}
		if n := len(all); n > 0 && all[n-1].id >= t.id {
			r.Fail("tenants out of order")
		}
		n := r.Count()
		for range n {
			e := readEntry(r)
			if r.Err() != nil {
				break
			}
			if n := len(t.blocks); n > 0 && t.blocks[n-1].compare(e.metric, e.step) > 0 {
				r.Fail("blocks out of order")
			}
			t.blocks = append(t.blocks, e)
		}
		t.blocks = slices.Clip(t.blocks)
		all = append(all, t)
		if r.Err() != nil {
			break
		}
	}
	return long, all, r.End()
}
