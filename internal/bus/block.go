package bus

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/minio/highwayhash"
	"github.com/nats-io/nats-server/v2/server/avl"
)

// JetStream keeps a stream in block files, 1.blk, 2.blk and so on, of up to 8 MiB. A block is records one behind the other, little endian:
//
//	0  4  length of the record; the highest bit says that it has headers
//	4  8  sequence number; the two highest bits mark an erased message, and a tombstone of one
//	12 8  time, Unix nanoseconds
//	20 2  length of the subject
//	22    subject, [length of the headers, headers,] message
//	-8 8  HighwayHash-64 of sequence number, time, subject, headers and message, keyed with the stream's name and the block's number
const (
	recordHeader = 22
	recordHash   = 8
	withHeaders  = 1 << 31
	erasedBit    = 1 << 63
	tombstoneBit = 1 << 62
	blockSuffix  = ".blk"
	maxBlock     = 64 << 20 // no block comes near it: a larger file is not one
)

// record is one record of a block.
type record struct {
	seq     uint64
	ts      int64
	subject []byte
	message []byte
	raw     []byte // all of it
	// tombstone and erased records stand for messages that were removed; they hold none.
	tombstone, erased bool
}

// blockHash checks and makes the hashes of one block's records.
type blockHash struct{ digest *highwayhash.Digest64 }

func newBlockHash(stream string, index uint32) blockHash {
	key := sha256.Sum256(fmt.Appendf(nil, "%s-%d", stream, index))
	digest, _ := highwayhash.NewDigest64(key[:]) // fails only for a key of another length
	return blockHash{digest}
}

func (h blockHash) sum(header, subject, rest []byte) uint64 {
	h.digest.Reset()
	_, _ = h.digest.Write(header[4:20])
	_, _ = h.digest.Write(subject)
	_, _ = h.digest.Write(rest)
	return h.digest.Sum64()
}

// readRecord reads the record that b begins with, and says what is wrong with it.
func (h blockHash) readRecord(b []byte) (record, error) {
	if len(b) < recordHeader+recordHash {
		return record{}, fmt.Errorf("%d bytes are no record", len(b))
	}
	length, subject := int(binary.LittleEndian.Uint32(b)&^uint32(withHeaders)), int(binary.LittleEndian.Uint16(b[20:]))
	before := recordHeader + subject
	if binary.LittleEndian.Uint32(b)&withHeaders != 0 {
		before += 4
	}
	if length < before+recordHash || length > len(b) {
		return record{}, fmt.Errorf("a record says that it has %d bytes", length)
	}
	r := record{raw: b[:length], subject: b[recordHeader : recordHeader+subject], message: b[before : length-recordHash]}
	if h.sum(b, r.subject, r.message) != binary.LittleEndian.Uint64(b[length-recordHash:]) {
		return record{}, errors.New("a record's checksum differs")
	}
	r.seq, r.ts = binary.LittleEndian.Uint64(b[4:]), int64(binary.LittleEndian.Uint64(b[12:])) //nolint:gosec // written as it is read
	r.erased, r.tombstone = r.seq&erasedBit != 0, r.seq&tombstoneBit != 0
	r.seq &^= erasedBit | tombstoneBit
	return r, nil
}

// appendRecord appends a message's record.
func (h blockHash) appendRecord(dst []byte, seq uint64, ts int64, subject string, message []byte) []byte {
	start := len(dst)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(recordHeader+len(subject)+len(message)+recordHash)) //nolint:gosec // a message is below 1 MiB
	dst = binary.LittleEndian.AppendUint64(dst, seq)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(ts))           //nolint:gosec // read as it is written
	dst = binary.LittleEndian.AppendUint16(dst, uint16(len(subject))) //nolint:gosec // ours, and short
	dst = append(dst, subject...)
	dst = append(dst, message...)
	return binary.LittleEndian.AppendUint64(dst, h.sum(dst[start:start+recordHeader], []byte(subject), message))
}

// block is what is known of one block file.
type block struct {
	index       uint32
	path        string
	size        int64
	messages    uint64
	bytes       uint64 // of the messages' records
	first, last uint64 // sequence numbers; last is first-1 when there are no messages
	firstTS     int64
	lastTS      int64
	deleted     *avl.SequenceSet // between first and last, nil for none
	checksum    [8]byte          // the last 8 bytes of the file
	// damage says what is wrong, "" nothing. What stands above it then only counts what lies before the damage.
	damage string
	// odd says that there are things that this program does not make; JetStream has to make sense of them.
	odd bool
	// checked says that the file was read and found whole; otherwise the above is what JetStream has written down about it.
	checked bool
	// from is where the block takes up the numbers: first, or where the loss begins that its first message stands for.
	from uint64
	lead frame // of the last message, to name the first one that is lost behind it
}

// listBlocks finds a stream's blocks, in order. It removes what a start that was broken off has left.
func listBlocks(dir string) ([]block, error) {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	var blocks []block
	for _, e := range entries {
		if strings.Contains(e.Name(), blockSuffix+mendedSuffix) {
			if err := removeIfThere(filepath.Join(dir, e.Name())); err != nil {
				return nil, err
			}
		}
		name, ok := strings.CutSuffix(e.Name(), blockSuffix)
		index, err := strconv.ParseUint(name, 10, 32)
		if !ok || err != nil {
			continue
		}
		info, err := e.Info()
		if err != nil {
			return nil, err
		}
		blocks = append(blocks, block{index: uint32(index), path: filepath.Join(dir, e.Name()), size: info.Size()})
	}
	slices.SortFunc(blocks, func(a, b block) int { return int(a.index) - int(b.index) })
	return blocks, nil
}

// readBlock reads a block into buf, or into new memory when it does not fit. What the disk does not give back is zero, and the damage.
func readBlock(path string, buf []byte) (content []byte, damage string, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, "", err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return nil, "", err
	}
	size := info.Size()
	if size > maxBlock {
		return nil, fmt.Sprintf("it has %d bytes", size), nil
	}
	if int64(cap(buf)) < size {
		buf = make([]byte, size)
	}
	content = buf[:size]
	n, err := io.ReadFull(f, content)
	if err == nil || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		return content[:n], "", nil
	}
	const page = 4096
	for at := n &^ (page - 1); at < len(content); at += page {
		end := min(at+page, len(content))
		if _, e := f.ReadAt(content[at:end], int64(at)); e != nil {
			clear(content[at:end])
		}
	}
	return content, "the disk does not give it back: " + err.Error(), nil
}

// scan reads a block whole and says what is in it. It stops at the first damage.
func (b *block) scan(stream string, buf []byte) ([]byte, error) {
	content, damage, err := readBlock(b.path, buf)
	if err != nil {
		return buf, err
	}
	fresh := block{index: b.index, path: b.path, size: int64(len(content)), damage: damage, checked: damage == ""}
	*b = fresh
	if damage != "" {
		return content, nil
	}
	if len(content) >= recordHash {
		copy(b.checksum[:], content[len(content)-recordHash:])
	}
	hash := newBlockHash(stream, b.index)
	removed := uint64(0)
	for at := 0; at < len(content); {
		r, err := hash.readRecord(content[at:])
		if err != nil {
			b.damaged(fmt.Sprintf("at byte %d: %v", at, err))
			break
		}
		if r.tombstone {
			removed = max(removed, r.seq)
		} else if why := b.take(r); why != "" {
			b.damaged(fmt.Sprintf("at byte %d: %s", at, why))
			break
		}
		at += len(r.raw)
	}
	switch {
	case b.messages > 0:
		b.odd = b.odd || removed >= b.first
	case removed > 0: // all has expired; the tombstone remembers where the numbers stand
		b.first, b.last, b.from = removed+1, removed, removed+1
	}
	return content, nil
}

func (b *block) damaged(why string) { b.damage, b.checked = why, false }

// take counts a record in, or says why it cannot be where it is.
func (b *block) take(r record) string {
	if r.erased || r.seq == 0 {
		b.odd = true
		return ""
	}
	f, length, err := readFrame(r.message)
	whole := err == nil && length == len(r.message)
	switch {
	case b.messages == 0:
		b.first, b.firstTS, b.from = r.seq, r.ts, r.seq
		if from, to, _, ok := f.lost(); whole && ok && to == r.seq && from <= to {
			b.from = from
		}
	case r.seq <= b.last:
		return fmt.Sprintf("message %d follows %d", r.seq, b.last)
	case r.seq > b.last+1:
		from, to, _, ok := f.lost()
		if !whole || !ok || from != b.last+1 || to != r.seq {
			return fmt.Sprintf("message %d follows %d", r.seq, b.last)
		}
		if b.deleted == nil {
			b.deleted = &avl.SequenceSet{}
		}
		for seq := from; seq < to; seq++ {
			b.deleted.Insert(seq)
		}
	}
	b.last, b.lastTS = r.seq, r.ts
	b.messages++
	b.bytes += uint64(len(r.raw))
	b.lead = f
	b.lead.stored = nil
	return ""
}
