package bus

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
)

// piece is a message found in a damaged block.
type piece struct {
	seq   uint64 // 0 while it is not known: only the frame was whole, not the record around it
	ts    int64
	frame frame
	raw   []byte // the record as it stands in the block, nil when it has to be made anew
	data  []byte // the frame's bytes
}

// start is the number that the piece takes up: its own, or where the loss begins that it stands for.
func (p piece) start() uint64 {
	if from, to, _, ok := p.frame.lost(); ok && to == p.seq && from <= to {
		return from
	}
	return p.seq
}

func pieceOf(r record) piece {
	f, _, _ := readFrame(r.message) // of a message that is no frame it is known that it is whole, and no more
	return piece{seq: r.seq, ts: r.ts, frame: f, raw: r.raw, data: r.message}
}

// salvage finds every message that is still whole in a block, in order. Corrected counts those of which one bit was wrong.
func salvage(content []byte, hash blockHash, subject string) (pieces []piece, corrected int) {
	for at := 0; at < len(content); {
		r, err := hash.readRecord(content[at:])
		if err == nil {
			if !r.tombstone && !r.erased && r.seq != 0 {
				pieces = append(pieces, pieceOf(r))
			}
			at += len(r.raw)
			continue
		}
		f := resync(content, at, hash, subject)
		if r, ok := correct(content[at:f.begin], hash); ok && !r.tombstone && !r.erased && r.seq != 0 {
			pieces = append(pieces, pieceOf(r))
			corrected++
		}
		if f.piece != nil {
			pieces = append(pieces, *f.piece)
			corrected++
		}
		at = f.resume
	}
	return pieces, corrected
}

// found is where reading can go on behind damage.
type found struct {
	begin  int // of the record that was found; the end of the block when there is none
	resume int // where to read on
	piece  *piece
}

// resync looks behind a place where there is no whole record for the next record that is whole, or the next frame that is.
func resync(content []byte, at int, hash blockHash, subject string) found {
	i, f, length, ok := findFrame(content[at:])
	if !ok {
		return found{begin: len(content), resume: len(content)}
	}
	i += at
	begin := i - len(subject) - recordHeader
	if begin > at {
		if _, err := hash.readRecord(content[begin:]); err == nil {
			return found{begin: begin, resume: begin}
		}
	}
	p := piece{frame: f, data: content[i : i+length]}
	if begin >= at {
		p.ts = int64(binary.LittleEndian.Uint64(content[begin+12:])) //nolint:gosec // place compares it with its neighbours
	}
	return found{begin: max(begin, at), resume: min(i+length+recordHash, len(content)), piece: &p}
}

// correct tries whether a record is whole but for one bit of its frame. The frame's CRC-32C tells which bit that must be, JetStream's hash of the
// whole record, which knows nothing of it, whether it was.
func correct(b []byte, hash blockHash) (record, bool) {
	if len(b) < recordHeader+recordHash || int(binary.LittleEndian.Uint32(b)) != len(b) {
		return record{}, false
	}
	start := recordHeader + int(binary.LittleEndian.Uint16(b[20:]))
	if start+frameHeader+recordHash > len(b) {
		return record{}, false
	}
	fixed := bytes.Clone(b)
	f := fixed[start : len(fixed)-recordHash]
	try := func(bit int) (record, bool) {
		f[bit/8] ^= 1 << (bit % 8)
		r, err := hash.readRecord(fixed)
		if err != nil {
			f[bit/8] ^= 1 << (bit % 8)
		}
		return r, err == nil
	}
	for bit := range 8 * 8 { // magic and checksum
		if r, ok := try(bit); ok {
			return r, true
		}
	}
	if bit, ok := wrongBit(f[8:], binary.BigEndian.Uint32(f[4:])); ok {
		return try(8*8 + bit)
	}
	return record{}, false
}

// wrongBit finds the one bit of b, counted from the lowest of the first byte, that must be wrong for b to have the checksum want.
func wrongBit(b []byte, want uint32) (int, bool) {
	// The checksum is linear: what a flipped bit does to it depends only on how much comes behind the bit. Bit 7 of the last byte
	// changes it by the polynomial; each step to a lower bit, or from bit 0 to bit 7 of the byte before, multiplies by x.
	syndrome := crc32.Checksum(b, castagnoli()) ^ want
	change := uint32(crc32.Castagnoli)
	for i := len(b) - 1; i >= 0; i-- {
		for bit := 7; bit >= 0; bit-- {
			if change == syndrome {
				return i*8 + bit, true
			}
			change = change>>1 ^ crc32.Castagnoli&-(change&1)
		}
	}
	return 0, false
}

// place gives pieces their numbers where these are not known, by those of their neighbours. After is the number before the block, next the one behind it,
// 0 when it is not known. A piece for which there is no room is left out.
func place(pieces []piece, after, next uint64) []piece {
	// For each piece the next one whose number is certain.
	certain := make([]int, len(pieces))
	for i, near := len(pieces)-1, len(pieces); i >= 0; i-- {
		certain[i] = near
		if pieces[i].seq != 0 {
			near = i
		}
	}
	out := make([]piece, 0, len(pieces))
	last := piece{seq: after}
	for i, p := range pieces {
		upper, upperTS := next, int64(0)
		waiting := uint64(certain[i] - i - 1) //nolint:gosec // certain[i] is behind i
		if certain[i] < len(pieces) {
			upper, upperTS = pieces[certain[i]].start(), pieces[certain[i]].ts
		}
		if p.seq == 0 {
			p.seq = last.seq + 1
			step := p.frame.number - last.frame.number
			if p.frame.producer == last.frame.producer && step > 1 && step < 1<<32 && upper != 0 && last.seq+step+waiting < upper {
				p.seq = last.seq + step
			}
			if p.ts < last.ts || (upperTS != 0 && p.ts > upperTS) {
				p.ts = max(last.ts, upperTS)
			}
		}
		if p.seq <= last.seq || (upper != 0 && p.seq >= upper) {
			continue
		}
		out = append(out, p)
		last = p
	}
	return out
}

// gap is a stretch of messages that are gone.
type gap struct {
	from, to uint64
	number   uint64 // the producer's number of the first one, 0 when it is not known
}

// assemble writes a block anew from what was found in it: every message at its number, and for each stretch of messages that is
// missing one that stands for them. Before is the message before the block.
func assemble(pieces []piece, hash blockHash, partition int, subject, reason string, before piece, next uint64) (content []byte, gaps []gap) {
	last := before
	missing := func(upto uint64, ts int64) {
		if upto <= last.seq {
			return
		}
		g := gap{from: last.seq + 1, to: upto}
		if last.frame.number != 0 {
			g.number = last.frame.number + 1
		}
		gaps = append(gaps, g)
		if ts == 0 {
			ts = last.ts
		}
		content = hash.appendRecord(content, g.to, ts, subject, lostFrame(partition, g.from, g.to, reason))
	}
	for _, p := range pieces {
		missing(p.start()-1, p.ts)
		if p.raw != nil {
			content = append(content, p.raw...)
		} else {
			content = hash.appendRecord(content, p.seq, p.ts, subject, p.data)
		}
		last = p
	}
	if next > 0 {
		missing(next-1, 0)
	}
	return content, gaps
}
